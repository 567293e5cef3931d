"""The fault matrix: what a service promises, while things break. An independent checker counts.

Two rounds of each fault; `OTTLA_ROUNDS=20` is the long run, on Apache Kafka too (`make soak`).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from ottla import KafkaSettings, RegistryClient, RegistrySettings, Settings
from ottla.kafka.admin import Admin
from ottla.kafka.producer import Producer
from ottla.serde import Deserializer, Serializer
from ottla.testing import Broker, EmbeddedRegistry
from tests.faults.matrix.checker import Findings
from tests.faults.matrix.service import Setup, events_of

ROUNDS = int(os.environ.get("OTTLA_ROUNDS", "2"))
LONG = ROUNDS > 2
KEYS = 40
PATIENCE_S = 120.0


class Given:
    """A source topic that is being written to, until `finish`."""

    def __init__(self, settings: Settings, setup: Setup) -> None:
        self._kind: Any = events_of(setup.source, setup.sink)[0]
        self._topic = setup.source
        self._producer = Producer(settings.kafka)
        self._serializer = Serializer(RegistryClient(settings.registry.url))
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    @property
    def count(self) -> int:
        return sum(map(len, list(self.numbers.values())))

    def finish(self) -> None:
        self._enough.set()
        self._thread.join(PATIENCE_S)
        assert self._producer.close(PATIENCE_S) == 0, "not everything that was given was acknowledged"

    def _write(self) -> None:
        chance, number = random.Random(7), 0
        while not self._enough.wait(0.005):
            for _ in range(5):
                key = f"k-{chance.randrange(KEYS)}"
                value = self._serializer.encode(self._kind(key, number), self._topic)
                self._producer.send(self._topic, value, key=key.encode())
                self.numbers[key].append(number)
                number += 1


class Services:
    """Members of one group, each a process."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        self._setup = setup
        self._folder = folder
        self._started = 0
        self.running: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        self._started += 1
        log = (self._folder / f"service-{self._started}.log").open("w")
        command = [sys.executable, "-m", "tests.faults.matrix.service", json.dumps(msgspec.to_builtins(self._setup))]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n", (self._folder / f"service-{self._started}.log").read_text()

    def kill(self) -> None:
        process = self.running.pop(0)
        process.kill()
        process.wait()

    def stop(self) -> None:
        process = self.running.pop(0)
        process.terminate()
        assert process.wait(30) == 0

    def close(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
        self.running.clear()


class Stage:
    """Everything a fault may break."""

    def __init__(self, broker: Broker, services: Services, given: Given, taken: Callable[[], int]) -> None:
        self.broker, self.services, self.given, self.taken = broker, services, given, taken

    def go_on(self, more: int = 100) -> None:
        """Waits until so many further results are there: the service works (again)."""
        target, deadline = self.taken() + more, time.monotonic() + PATIENCE_S
        while self.taken() < target:
            assert time.monotonic() < deadline, f"nothing came out any more after {self.taken()} of {self.given.count}"
            time.sleep(0.05)


def service_is_killed(stage: Stage) -> None:
    stage.services.kill()
    stage.services.start()


def service_is_restarted(stage: Stage) -> None:
    stage.services.stop()
    stage.services.start()


def members_come_and_go(stage: Stage) -> None:
    stage.services.start()
    stage.services.start()
    stage.services.stop()
    stage.services.stop()


def broker_is_killed(stage: Stage) -> None:
    stage.broker.kill()
    stage.broker.start()


FAULTS = [service_is_killed, service_is_restarted, members_come_and_go, broker_is_killed]
IN_SHORT = {
    (service_is_killed, "exactly_once", "per_key"),
    (broker_is_killed, "exactly_once", "per_partition"),
    (members_come_and_go, "exactly_once", "per_key"),
    (service_is_killed, "at_least_once", "per_key"),
}
CELLS = [
    pytest.param(fault, guarantee, order, id=f"{fault.__name__}-{guarantee}-{order}")
    for fault in FAULTS
    for guarantee in ("at_least_once", "exactly_once")
    for order in ("per_partition", "per_key")
    if LONG or (fault, guarantee, order) in IN_SHORT
]


@pytest.fixture
def registry(killable_broker: Broker) -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(killable_broker.bootstrap_servers) as started:
        yield started


@pytest.mark.timeout(120 + ROUNDS * 60)
@pytest.mark.parametrize(("fault", "guarantee", "order"), CELLS)
def test_nothing_is_lost_nothing_comes_twice_and_keys_keep_their_order(
    killable_broker: Broker,
    broker_kind: str,
    registry: EmbeddedRegistry,
    topic_name: str,
    tmp_path: Path,
    fault: Callable[[Stage], None],
    guarantee: str,
    order: str,
) -> None:
    if broker_kind == "kafka" and not LONG:
        pytest.skip("the long run (make soak) has these on Apache Kafka too")
    setup = Setup(
        name=f"service-{topic_name}",
        bootstrap_servers=killable_broker.bootstrap_servers,
        registry_url=registry.url,
        source=f"{topic_name}-given",
        sink=f"{topic_name}-taken",
        exactly_once=guarantee == "exactly_once",
        order=order,
        properties={"topic.metadata.refresh.interval.ms": 500},
    )
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=setup.bootstrap_servers),
        registry=RegistrySettings(url=setup.registry_url),
    )
    Admin(settings.kafka).ensure_topics({setup.source: 3, setup.sink: 3})
    services, given = Services(setup, tmp_path), Given(settings, setup)

    def taken() -> int:
        try:
            return sum(Admin(settings.kafka, timeout_s=2).end_offsets([setup.sink]).values())
        except Exception:
            return 0  # The broker is away.

    try:
        services.start()
        services.start()
        stage = Stage(killable_broker, services, given, taken)
        stage.go_on(200)
        for _ in range(ROUNDS):
            fault(stage)
            stage.go_on()
        given.finish()
        findings = _wait_for_the_end(settings, setup, given)
    finally:
        services.close()
    admin = Admin(settings.kafka)
    dead = f"{setup.source}-dlq"
    assert sum(admin.end_offsets([dead]).values()) == 0, "a fault of the brokers is no record's fault"
    assert findings.lost == []
    assert findings.invented == []
    assert findings.disordered == []
    if guarantee == "exactly_once":
        assert findings.doubled == []


def _wait_for_the_end(settings: Settings, setup: Setup, given: Given) -> Findings:
    """Waits until the group has committed all that was given, then counts."""
    admin, deadline = Admin(settings.kafka), time.monotonic() + PATIENCE_S
    while True:
        ends = admin.end_offsets([setup.source])
        committed = admin.committed(setup.name)
        done = all(committed.get(place, 0) >= end for place, end in ends.items())
        # What a killed member left open holds readers of committed records up, until the broker has aborted it.
        if done and _last_stable(settings, setup.sink) == _last_stable(settings, setup.sink, committed=False):
            break
        assert time.monotonic() < deadline, f"the group stands at {committed}, the ends are {ends}"
        time.sleep(0.1)
    return Findings(settings, Deserializer(RegistryClient(settings.registry.url)), setup.sink, dict(given.numbers))


def _last_stable(settings: Settings, topic: str, *, committed: bool = True) -> dict[int, int]:
    level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    client = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})
    asked = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(3)}
    answers = client.list_offsets(asked, isolation_level=level)
    return {place.partition: answer.result().offset for place, answer in answers.items()}
