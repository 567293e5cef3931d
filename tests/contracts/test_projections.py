"""Projections: each event in the tables once, whatever happens, on both brokers and both databases."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from ottla import RegistryClient
from ottla.kafka.producer import Producer
from ottla.patterns.projection_rebuild import Rebuild, Rebuilt, status
from ottla.serde import Deserializer, Serializer
from ottla.testing import Broker, EmbeddedBroker
from tests.contracts.projections import TOTALS, Reports, Setup
from tests.listeners.harness import World

PATIENCE_S = 60.0
KILLS = int(os.environ.get("OTTLA_PROJECTION_KILLS", "1"))
"""How often an instance is killed; above 1, all tests run on both brokers with both databases."""

ROOT = Path(__file__).resolve().parents[2]


class Stage:
    """A topic, a database, and what should be in it."""

    def __init__(self, world: World, name: str, database: str, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.setup = Setup(
            name=name,
            bootstrap_servers=world.broker.bootstrap_servers,
            registry=world.registry.url,
            database=database,
        )
        self.reports = Reports(self.setup)
        self.expected: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        self._serializer = Serializer(RegistryClient(world.registry.url))
        self._sent = 0
        world.admin.ensure_topics({name: 3, f"{name}-dlq": 3})

    def sell(self, count: int, *, customers: int = 7) -> None:
        events = []
        for number in range(self._sent, self._sent + count):
            event = self.reports.Sold(f"c{number % customers}", number % 1000 + 20)
            orders, amount = self.expected[event.customer]
            self.expected[event.customer] = orders + 1, amount + event.amount
            events.append(event)
        self._sent += count
        self.send(*events)

    def send(self, *events: Any) -> None:
        producer = Producer(self.reports.settings.kafka)
        for event in events:
            producer.send(self.setup.name, self._serializer.encode(event, self.setup.name), key=event.customer.encode())
        assert producer.close(PATIENCE_S) == 0

    @property
    def sent(self) -> int:
        return self._sent

    async def keep_selling(self) -> None:
        while True:
            await asyncio.to_thread(self.sell, 10)
            await asyncio.sleep(0.1)

    def process(self, *command: str, slow_s: float = 0.0) -> subprocess.Popen[str]:
        """A command about the projection, in a process of its own."""
        path = self.folder / f"setup-{slow_s}.json"
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(self.setup, slow_s=slow_s)))
        environment = {**os.environ, "PROJECTION_SETUP": str(path), "OTTLA_HTTP__PORT": "0"}
        target = "tests.contracts.projections:" + ("app" if command[0] == "run" else "totals")
        arguments = [sys.executable, "-m", "ottla.cli", *command, target, "--app-dir", str(ROOT)]
        log = (self.folder / "process.log").open("ab")
        return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)

    def rebuild(self) -> Rebuilt:
        reports = self.reports
        producer = Producer(reports.settings.kafka)
        deserializer = Deserializer(RegistryClient(self.world.registry.url))
        try:
            rebuild = Rebuild(reports.projection, reports.engine, reports.settings, deserializer, producer)
            return rebuild.run(lambda done, total: None)
        finally:
            producer.close()

    def built(self) -> int:
        """How many events the tables that are being built have."""
        with self.reports.engine.connect() as connection:
            return int(connection.execute(text("SELECT SUM(orders) FROM totals_g2")).scalar() or 0)

    def applied(self) -> int:
        """How many events the tables have."""
        try:
            return sum(orders for orders, _ in self.reports.rows().values())
        except SQLAlchemyError:
            return 0

    def has_applied(self, count: int) -> bool:
        return self.applied() > count

    async def all_right(self) -> None:
        await eventually(lambda: self.reports.rows() == self.expected, lambda: (self.reports.rows(), self.expected))


async def eventually(true: Callable[[], Any], what: Callable[[], Any] = lambda: "") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if await asyncio.to_thread(true):
                return
        except Exception:  # a table that is not there yet
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
            continue
        assert time.monotonic() < deadline, what()
        await asyncio.sleep(0.05)


@pytest.fixture(params=["sqlite", "postgresql"])
def stage(request: pytest.FixtureRequest, world: World, topic_name: str, tmp_path: Path) -> Stage:
    url = f"sqlite:///{tmp_path}/reports.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    return Stage(world, topic_name, url, tmp_path)


@pytest.fixture
def hard_stage(stage: Stage, broker: Broker) -> Stage:
    """Each broker with one of the databases, unless the long run is asked for."""
    if KILLS == 1 and stage.setup.database.startswith("sqlite") != isinstance(broker, EmbeddedBroker):
        pytest.skip("runs with OTTLA_PROJECTION_KILLS above 1")
    return stage


async def test_events_fill_the_tables(stage: Stage) -> None:
    stage.sell(100)
    async with stage.reports.app.running():
        await stage.all_right()
        stage.sell(50)
        await stage.all_right()


async def test_a_rebuild_that_is_killed_goes_on_and_swaps_while_events_arrive(hard_stage: Stage) -> None:
    stage = hard_stage
    stage.sell(1_000)
    async with stage.reports.app.running():
        await stage.all_right()
        with stage.reports.engine.begin() as connection:  # what only a rebuild puts right
            connection.execute(TOTALS.update().values(amount=-(10**9)))
        slow = stage.process("projection", "rebuild", slow_s=0.003)
        selling = asyncio.create_task(stage.keep_selling())
        await eventually(lambda: 100 < stage.built() < 900, lambda: stage.built())
        slow.kill()
        assert slow.wait() == -9
        at = stage.built()
        assert min(row[1] for row in stage.reports.rows().values()) < 0, "readers still see the old tables"
        done = await asyncio.to_thread(stage.rebuild)
        selling.cancel()
        assert (done.generation, done.resumed, done.dead_letters) == (2, True, 0)
        assert done.events <= stage.sent - at
        await stage.all_right()
        stage.sell(50)
        await stage.all_right()
    now, form, partitions = status(stage.reports.projection, stage.reports.engine, stage.world.admin)
    assert now == (2, form, None, None)
    assert sum(one.position or 0 for one in partitions) >= stage.sent


async def test_a_process_that_is_killed_leaves_each_event_in_the_tables_once(hard_stage: Stage) -> None:
    stage = hard_stage
    for number in range(KILLS):
        stage.sell(500)
        running = stage.process("run", slow_s=0.002)
        await eventually(partial(stage.has_applied, 500 * number + 20), stage.applied)
        running.kill()
        running.wait()
        assert stage.applied() < stage.sent
    async with stage.reports.app.running():
        await stage.all_right()


async def test_what_cannot_be_handled_becomes_a_dead_letter_and_the_rest_goes_on(hard_stage: Stage) -> None:
    stage = hard_stage
    stage.sell(10)
    stage.send(stage.reports.Sold("c1", 13))
    stage.sell(10)
    async with stage.reports.app.running():
        await stage.all_right()
        await eventually(lambda: len(stage.world.dead_letters(stage.setup.name)) == 1)
    (letter,) = stage.world.dead_letters(stage.setup.name)
    headers = dict(letter.headers)
    assert headers["kafka_dlt-exception-fqcn"] == b"builtins.ZeroDivisionError"
    assert (headers["ottla-attempts"], headers["ottla-handler"]) == (b"3", b"totals")


async def test_instances_share_the_partitions(hard_stage: Stage) -> None:
    stage = hard_stage
    other = Reports(stage.setup)
    async with stage.reports.app.running():
        stage.sell(500)
        async with other.app.running():
            stage.sell(500)
            await eventually(lambda: other.app.health.wrong() == [], other.app.health.wrong)
            stage.sell(500)
            await stage.all_right()
        stage.sell(100)
        await stage.all_right()
