"""Projections: each event in the tables once, whatever happens, on both brokers and both databases."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ottla import RegistryClient
from ottla.kafka.producer import Producer
from ottla.serde import Serializer
from tests.contracts.projections import Reports, Setup
from tests.listeners.harness import World

PATIENCE_S = 60.0


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
        assert time.monotonic() < deadline, what()
        await asyncio.sleep(0.05)


@pytest.fixture(params=["sqlite", "postgresql"])
def stage(request: pytest.FixtureRequest, world: World, topic_name: str, tmp_path: Path) -> Stage:
    url = f"sqlite:///{tmp_path}/reports.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    return Stage(world, topic_name, url, tmp_path)


async def test_events_fill_the_tables(stage: Stage) -> None:
    stage.sell(100)
    async with stage.reports.app.running():
        await stage.all_right()
        stage.sell(50)
        await stage.all_right()
