"""Where a fault is played: a broker, a registry, a database, and cells that share them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from ottla import KafkaSettings, RegistrySettings, Settings
from ottla.kafka.admin import Admin
from ottla.kafka.producer import Producer
from ottla.testing import Broker, EmbeddedRegistry
from tests.faults.matrix import effects
from tests.faults.matrix.cell import Cell, Promise, Services
from tests.faults.matrix.given import Given
from tests.faults.matrix.nursery import Nursery
from tests.faults.matrix.progress import PARTITIONS, PATIENCE_S, Progress
from tests.faults.matrix.service import Setup
from tests.servers.postgres import Postgres


class Stage:
    """Everything that a fault may break. Its cells have nothing in common but that.

    Args:
        database: None: cells that need one have one of their own.
        door: Whether services connect through the broker's door, where their connections can be cut.
        folder: For logs and databases.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        registry: EmbeddedRegistry,
        nursery: Nursery,
        database: Postgres | None,
        door: bool,
        folder: Path,
    ) -> None:
        self.broker, self.registry = broker, registry
        self._nursery, self._database, self._door, self._folder = nursery, database, door, folder
        self._name = uuid.uuid4().hex[:8]
        self._settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers),
            registry=RegistrySettings(url=registry.url),
        )
        self._began = time.monotonic()
        self.cells: list[Cell] = []

    @property
    def database(self) -> Postgres:
        assert self._database is not None, "the cells have databases of their own"
        return self._database

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def open(self, promises: Iterable[Promise], members: int = 2) -> None:
        """Starts everything and waits until it works."""
        setups = {promise: self._setup(promise) for promise in promises}
        topics = [topic for setup in setups.values() for topic in (setup.source, setup.sink)]
        Admin(self._settings.kafka, timeout_s=PATIENCE_S).ensure_topics(dict.fromkeys(topics, PARTITIONS))
        self._progress = Progress(self.broker, self._settings.kafka, [setup.sink for setup in setups.values()])
        self._producer = Producer(self._settings.kafka)
        for promise, setup in setups.items():
            if setup.database is not None:
                effects.create(setup.database)
            folder = self._folder / promise.name
            folder.mkdir()
            services = Services(setup, folder, self._nursery)
            given = Given(self._settings, setup, self._producer, partial(self._progress.taken, setup.sink))
            self.cells.append(Cell(promise, setup, self._settings, services, given))
        for _ in range(members):
            self.each(lambda cell: cell.services.begin())
        self.each(lambda cell: cell.services.wait_until_started())
        self.go_on()

    def _setup(self, promise: Promise) -> Setup:
        name = f"{promise.name.replace('_', '-')}-{self._name}"
        return Setup(
            name=name,
            bootstrap_servers=self.broker.faults.bootstrap_servers if self._door else self.broker.bootstrap_servers,
            registry_url=self.registry.url,
            source=f"{name}.given",
            sink=f"{name}.taken",
            guarantee=promise.guarantee,
            order=promise.order,
            slow=str(self._folder / f"{promise.name}.slow"),
            database=self._database_url(promise),
            properties={"topic.metadata.refresh.interval.ms": 500},
            flaw=promise.flaw,
        )

    def _database_url(self, promise: Promise) -> str | None:
        if self._database is not None:
            name = f"{promise.name.replace('-', '_')}_{self._name}"
            self._database.sql(f"CREATE DATABASE {name}")
            return self._database.url(name)
        return f"sqlite:///{self._folder / promise.name}.db" if promise.guarantee == "inbox" else None

    # ------------------------------------------------------------------ while it is played

    def each(self, action: Callable[[Cell], Any]) -> None:
        for cell in self.cells:
            cell.attempt(action)

    def burst(self) -> None:
        """Gives each cell so much that what strikes next strikes in the middle of it."""
        for cell in self.cells:
            cell.given.burst()

    def start_members(self, count: int = 1) -> None:
        """One more, or more, in every cell."""
        for _ in range(count):
            self.each(lambda cell: cell.services.begin())
        self.each(lambda cell: cell.services.wait_until_started())

    def stop_members(self, count: int = 1) -> None:
        """As an operator would."""
        for _ in range(count):
            self.each(lambda cell: cell.services.ask_to_stop())
        self.each(lambda cell: cell.services.wait_until_stopped())

    def kill_members(self) -> None:
        self.each(lambda cell: cell.services.kill())

    def go_on(self, more: int = 30) -> None:
        """Waits until so many further results are there in each cell: the service works (again)."""
        targets = {cell.setup.sink: self._progress.taken(cell.setup.sink) + more for cell in self.cells}
        deadline = time.monotonic() + PATIENCE_S

        def wait(cell: Cell) -> None:
            sink = cell.setup.sink
            while (taken := self._progress.taken(sink)) < targets[sink]:
                assert time.monotonic() < deadline, f"nothing came out any more after {taken} of {cell.given.count}"
                time.sleep(0.02)

        self.each(wait)

    def catch_up(self) -> None:
        """Waits until each cell has committed everything that was given: nothing stays behind, in retry topics neither.

        A database that goes away again before all were tried is away for each attempt at some of them in the end, and a
        service does right to give those up.
        """
        for cell in self.cells:
            cell.given.pause()
        self.each(lambda c: self._progress.wait_for_the_end(c.setup.name, c.setup.source, c.setup.sink))
        for cell in self.cells:
            cell.given.go_on()

    def finish(self) -> None:
        """No more is given; all that was is waited for, and what came out is read."""
        for cell in self.cells:
            cell.given.finish()
        assert self._producer.close(PATIENCE_S) == 0, "not everything that was given was acknowledged"
        self.each(lambda c: self._progress.wait_for_the_end(c.setup.name, c.setup.source, c.setup.sink))
        for cell in self.cells:
            cell.services.close()
            cell.examine(self._progress)

    def close(self) -> None:
        for cell in self.cells:
            cell.given.finish()
            cell.services.close()
        self._producer.close(0)
        self._progress.close()
