"""Writers and relays are killed, the broker and the database, too: what was booked is on the topic, and nothing else.

Each fault happens once, with PostgreSQL; `OTTLA_ROUNDS=20` is the long run, with SQLite and on Apache Kafka too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, func, select

from ottla import App, RegistryClient
from ottla.errors import ServerFailed
from ottla.events import read_envelope
from ottla.kafka.admin import Admin
from ottla.kafka.reader import read_topic
from ottla.serde import Deserializer
from ottla.testing import Broker, EmbeddedRegistry
from tests.faults.outbox.processes import Setup, ledger, metadata, open_engine
from tests.servers.postgres import Postgres

ROUNDS = int(os.environ.get("OTTLA_ROUNDS", "1"))
LONG = ROUNDS > 2
PATIENCE_S = 90.0


class Processes:
    """Children of the test: a writer and two relays."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        self._setup = setup
        self._folder = folder
        self._count = 0
        self.running: dict[str, subprocess.Popen[str]] = {}

    def start(self, *roles: str) -> None:
        """Starts them side by side; a role is writer, relay-1 or relay-2."""
        for role in roles:
            self._count += 1
            log = self._folder / f"{role}-{self._count}.log"
            command = [sys.executable, "-m", "tests.faults.outbox.processes", role.split("-")[0]]
            self.running[role] = subprocess.Popen(
                [*command, json.dumps(msgspec.to_builtins(self._setup))],
                stdout=subprocess.PIPE,
                stderr=log.open("w"),
                text=True,
            )
        for role in roles:
            said = self.running[role].stdout
            assert said is not None
            assert said.readline() == "started\n", f"{role}: see {self._folder}"

    def kill(self, *roles: str) -> None:
        for role in roles:
            process = self.running.pop(role)
            process.kill()
            process.wait()

    def stop(self, role: str) -> None:
        process = self.running.pop(role)
        process.terminate()
        assert process.wait(PATIENCE_S) == 0

    def close(self) -> None:
        self.kill(*self.running)


class Stage:
    """Everything that may be broken, and the way to see that it works again."""

    def __init__(self, setup: Setup, broker: Broker, database: Postgres | None, folder: Path) -> None:
        self.setup, self.broker, self.database = setup, broker, database
        self.processes = Processes(setup, folder)
        self.engine: Engine = open_engine(setup.database_url)

    def published(self) -> int:
        try:
            return sum(Admin(self.setup.settings.kafka, timeout_s=2).end_offsets([self.setup.topic]).values())
        except Exception:
            return 0  # The broker is away.

    def go_on(self, more: int = 50) -> None:
        target, deadline = self.published() + more, time.monotonic() + PATIENCE_S
        while self.published() < target:
            assert time.monotonic() < deadline, f"nothing is published any more after {self.published()}"
            time.sleep(0.05)

    def left(self) -> int:
        table = App("any").outbox("", relay=False, create=False).tables.rows
        with self.engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()


def a_relay_is_killed(stage: Stage) -> None:
    stage.processes.kill("relay-1")
    stage.processes.start("relay-1")


def everybody_is_killed(stage: Stage) -> None:
    stage.processes.kill(*EVERYBODY)
    stage.processes.start(*EVERYBODY)


def the_broker_is_killed(stage: Stage) -> None:
    stage.broker.kill()
    stage.broker.start()


def the_database_is_killed(stage: Stage) -> None:
    if stage.database is None:
        return
    stage.database.kill()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            stage.database.start()
            return
        except ServerFailed:  # what it left behind still holds its memory
            assert time.monotonic() < deadline
            time.sleep(0.2)


EVERYBODY = ("writer", "relay-1", "relay-2")
FAULTS: list[Callable[[Stage], None]] = [
    a_relay_is_killed,
    the_database_is_killed,
    everybody_is_killed,
    the_broker_is_killed,
]


@pytest.fixture
def database() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def stage(request: pytest.FixtureRequest, broker_kind: str, topic_name: str, tmp_path: Path) -> Iterator[Stage]:
    if not LONG and (broker_kind == "kafka" or request.param == "sqlite"):
        pytest.skip("the long run (make soak) has this, too")
    killable_broker: Broker = request.getfixturevalue("killable_broker")
    database: Postgres | None = None
    url = f"sqlite:///{tmp_path}/books.db"
    if request.param == "postgresql":
        request.getfixturevalue("postgres")  # what its absence means is said in one place
        database = request.getfixturevalue("database")
        # A commit must be durable here, as it is where PostgreSQL is not told otherwise.
        url = f"{database.url()}?options=-csynchronous_commit%3Don"
    with EmbeddedRegistry(killable_broker.bootstrap_servers) as registry:
        setup = Setup(
            database_url=url,
            bootstrap_servers=killable_broker.bootstrap_servers,
            registry_url=registry.url,
            topic=topic_name,
            name=f"books-{topic_name}",
        )
        Admin(setup.settings.kafka).ensure_topics({topic_name: 3})
        made = Stage(setup, killable_broker, database, tmp_path)
        metadata.create_all(made.engine)
        App("any").outbox(url, relay=False).create(made.engine)
        yield made
        made.processes.close()
        made.engine.dispose()


@pytest.mark.timeout(180 + ROUNDS * 120)
def test_whatever_is_killed_what_was_booked_is_published_in_the_order_of_its_key(stage: Stage) -> None:
    stage.processes.start(*EVERYBODY)
    stage.go_on()
    for _ in range(ROUNDS):
        for fault in FAULTS:
            fault(stage)
            stage.go_on()
    stage.processes.stop("writer")
    deadline = time.monotonic() + PATIENCE_S
    while stage.left():
        assert time.monotonic() < deadline, f"{stage.left()} events stay in the outbox"
        time.sleep(0.1)
    stage.processes.stop("relay-1")
    stage.processes.stop("relay-2")
    check(stage)


def check(stage: Stage) -> None:
    """Compares the books with the topic. Knows nothing of outboxes."""
    booked: dict[str, list[int]] = defaultdict(list)
    with stage.engine.connect() as connection:
        for row in connection.execute(select(ledger).order_by(ledger.c.key, ledger.c.number)):
            booked[row.key].append(row.number)
    deserializer = Deserializer(RegistryClient(stage.setup.registry_url))
    seen: dict[str, list[int]] = defaultdict(list)
    identities: dict[tuple[str, int], set[str]] = defaultdict(set)
    for record in sorted(read_topic(stage.setup.settings.kafka, stage.setup.topic), key=lambda one: one.offset):
        value: Any = deserializer.decode_to_dict(record.value or b"")
        envelope = read_envelope(record.headers)
        assert envelope is not None
        seen[value["key"]].append(value["number"])
        identities[value["key"], value["number"]].add(envelope.id)
    first_seen = {key: list(dict.fromkeys(numbers)) for key, numbers in seen.items()}
    wrong = {key: numbers for key, numbers in booked.items() if first_seen.get(key) != numbers}
    assert wrong == {}, "lost, or out of order"
    assert set(first_seen) == set(booked), "invented"
    assert [place for place, ids in identities.items() if len(ids) > 1] == [], "a copy has an id of its own"
