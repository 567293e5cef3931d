"""The fault matrix: what a service promises, while things break. An independent checker counts.

Two rounds of each fault in the cells of `IN_SHORT`; `OTTLA_ROUNDS=20` is the long run: every cell, on Apache Kafka too
(`make soak`).
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from ottla import KafkaSettings, RegistryClient, RegistrySettings, Settings
from ottla.kafka.admin import Admin
from ottla.kafka.tap import Tap
from ottla.serde import Deserializer
from ottla.testing import Broker, EmbeddedRegistry
from tests.faults.matrix import effects, results
from tests.faults.matrix.checker import Findings, taken_from
from tests.faults.matrix.faults import (
    FAULTS,
    Fault,
    broker_is_killed,
    connections_are_cut,
    database_is_away,
    members_come_and_go,
    registry_is_away,
    service_is_killed,
)
from tests.faults.matrix.service import Setup
from tests.faults.matrix.stage import PATIENCE_S, Given, Services, Stage
from tests.servers.postgres import Postgres

ROUNDS = int(os.environ.get("OTTLA_ROUNDS", "2"))
LONG = ROUNDS > 2
GUARANTEES = ("at_least_once", "exactly_once", "inbox")
ORDERS = ("per_partition", "per_key", "retry_topics")
IN_SHORT = {
    (service_is_killed, "exactly_once", "per_key"),
    (service_is_killed, "inbox", "retry_topics"),
    (members_come_and_go, "exactly_once", "per_key"),
    (broker_is_killed, "exactly_once", "per_partition"),
    (connections_are_cut, "exactly_once", "retry_topics"),
    (registry_is_away, "at_least_once", "retry_topics"),
    (database_is_away, "inbox", "per_key"),
}
CELLS = [
    pytest.param(fault, guarantee, order, id=f"{fault.__name__}-{guarantee}-{order}")
    for fault, guarantee, order in itertools.product(FAULTS, GUARANTEES, ORDERS)
    if LONG or (fault, guarantee, order) in IN_SHORT
]
BROKERS = ["embedded", pytest.param("kafka", marks=pytest.mark.real_kafka)] if LONG else ["embedded"]


@pytest.fixture
def registry(killable_broker: Broker) -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(killable_broker.bootstrap_servers) as started:
        yield started


@pytest.fixture
def database(request: pytest.FixtureRequest, fault: Fault) -> Iterator[Postgres | None]:
    """A PostgreSQL that may be stopped, where that is the fault."""
    if fault is not database_is_away:
        yield None
        return
    request.getfixturevalue("postgres")  # skips, or fails in CI, where there is none
    with Postgres() as server:
        yield server


@pytest.mark.timeout(180 + ROUNDS * 60)
@pytest.mark.parametrize("broker_kind", BROKERS, indirect=True, scope="session")
@pytest.mark.parametrize(("fault", "guarantee", "order"), CELLS)
def test_nothing_is_lost_nothing_comes_twice_and_keys_keep_their_order(
    killable_broker: Broker,
    broker_kind: str,
    registry: EmbeddedRegistry,
    database: Postgres | None,
    topic_name: str,
    tmp_path: Path,
    fault: Fault,
    guarantee: str,
    order: str,
) -> None:
    door = killable_broker.faults.bootstrap_servers if fault is connections_are_cut else None
    setup = Setup(
        name=f"service-{topic_name}",
        bootstrap_servers=door or killable_broker.bootstrap_servers,
        registry_url=registry.url,
        source=f"{topic_name}-given",
        sink=f"{topic_name}-taken",
        guarantee=guarantee,
        order=order,
        slow=str(tmp_path / "slow"),
        database=_database_url(database, guarantee, tmp_path),
        properties={"topic.metadata.refresh.interval.ms": 500},
    )
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=killable_broker.bootstrap_servers),
        registry=RegistrySettings(url=setup.registry_url),
    )
    Admin(settings.kafka).ensure_topics({setup.source: 3, setup.sink: 3})
    if setup.database is not None:
        effects.create(setup.database)
    services = Services(setup, tmp_path)
    # A commit of the database for each, or a second way through a topic, takes its time.
    given = Given(settings, setup, pause_s=0.04 if setup.database or order == "retry_topics" else 0.005)
    began = time.monotonic()

    def taken() -> int:
        try:
            return sum(Admin(settings.kafka, timeout_s=2).end_offsets([setup.sink]).values())
        except Exception:
            return 0  # The broker is away.

    try:
        services.start()
        services.start()
        stage = Stage(
            broker=killable_broker,
            registry=registry,
            database=database,
            services=services,
            given=given,
            slow=Path(setup.slow),
            taken=taken,
        )
        stage.go_on(200)
        for _ in range(ROUNDS):
            fault(stage)
            stage.go_on()
        given.finish()
        _wait_for_the_end(settings, setup)
    finally:
        services.close()
    deserializer = Deserializer(RegistryClient(settings.registry.url))
    sink = Findings(taken_from(settings, deserializer, setup.sink), dict(given.numbers))
    stored = Findings(effects.written(setup.database), dict(given.numbers)) if setup.database else None
    dead = sum(Admin(settings.kafka).end_offsets([f"{setup.source}-dlq"]).values())
    if LONG:
        figures = _figures(sink, stored, given.count, dead, time.monotonic() - began)
        results.keep(f"{fault.__name__} {guarantee} {order}", broker_kind, figures)
    assert dead == 0, "a fault of what stands around a service is no record's fault"
    for found in (sink, stored):
        if found is not None:
            assert found.lost == []
            assert found.invented == []
            assert found.disordered == []
    if guarantee == "exactly_once":
        assert sink.doubled == []
    if guarantee == "inbox":
        assert stored is not None
        assert stored.doubled == []


def _database_url(server: Postgres | None, guarantee: str, folder: Path) -> str | None:
    if server is not None:
        return server.url()
    return f"sqlite:///{folder / 'effects.db'}" if guarantee == "inbox" else None


def _figures(sink: Findings, stored: Findings | None, given: int, dead: int, took_s: float) -> dict[str, Any]:
    def counts(found: Findings) -> dict[str, int]:
        return {
            "lost": len(found.lost),
            "doubled": len(found.doubled),
            "disordered keys": len(found.disordered),
            "invented": len(found.invented),
        }

    figures = {"rounds": ROUNDS, "given": given, "dead": dead, "seconds": round(took_s), "topic": counts(sink)}
    if stored is not None:
        figures["database"] = counts(stored)
    return figures


def _wait_for_the_end(settings: Settings, setup: Setup) -> None:
    """Waits until the group has committed all that was given, and all that lay in retry topics."""
    admin, tap, deadline = Admin(settings.kafka), Tap(settings.kafka), time.monotonic() + PATIENCE_S
    try:
        while True:
            committed = admin.committed(setup.name)
            own = [name for name in admin.topics() if name == setup.source or name.startswith(f"{setup.source}-retry-")]
            ends = admin.end_offsets(own)
            late = {place: committed.get(place, 0) for place, end in ends.items() if committed.get(place, 0) < end}
            # What a killed member left open holds readers of committed records up, until the broker has aborted it.
            # The ends of what is written in transactions are markers and aborted records, which nobody commits.
            if all(_stable(settings, name) for name in (setup.sink, *own)) and not tap.read(late):
                return
            assert time.monotonic() < deadline, f"the group stands at {committed}, the ends are {ends}"
            time.sleep(0.1)
    finally:
        tap.close()


def _stable(settings: Settings, topic: str) -> bool:
    """Whether no transaction is open there."""
    return _ends(settings, topic, IsolationLevel.READ_COMMITTED) == _ends(
        settings, topic, IsolationLevel.READ_UNCOMMITTED
    )


def _ends(settings: Settings, topic: str, level: IsolationLevel) -> dict[int, int]:
    client = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})
    asked = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(3)}
    answers = client.list_offsets(asked, isolation_level=level)
    return {place.partition: answer.result().offset for place, answer in answers.items()}
