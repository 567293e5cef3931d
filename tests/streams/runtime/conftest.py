"""The test application, run within the test: input, output, and waiting for what is to come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ottla.kafka.admin import Admin
from ottla.kafka.producer import Producer
from ottla.kafka.reader import read_topic
from ottla.settings import KafkaSettings
from ottla.streams.app import StreamsApp
from ottla.streams.errors_policy import ErrorHandlers
from ottla.testing import Broker
from tests.faults.streams.verifier import totals, wrong
from tests.streams.runtime.totals import Setup, make_app

PATIENCE_S = 60.0


class Stage:
    """One application with topics of its own.

    Attributes:
        setup: Of its first instance.
    """

    def __init__(self, broker: Broker, name: str, folder: Path) -> None:
        self.folder = folder
        self.setup = Setup(
            name=f"app-{name}",
            bootstrap_servers=broker.bootstrap_servers,
            state_dir=str(folder / "state"),
            source=f"{name}-in",
            sink=f"{name}-out",
        )
        self.kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, topic_partitions=3)
        self.admin = Admin(self.kafka)
        self.admin.ensure_topics({self.setup.source: 3, self.setup.sink: 3})
        self._given = 0

    def change(self, **changes: Any) -> None:
        self.setup = msgspec.structs.replace(self.setup, **changes)

    def setup_in(self, state: Path) -> Setup:
        """For an instance with state of its own."""
        return msgspec.structs.replace(self.setup, state_dir=str(state))

    def give(self, count: int, *, keys: int = 10) -> None:
        """Ones for each key in turn."""
        self.send(*(f"k-{number % keys} 1".encode() for number in range(self._given, self._given + count)))
        self._given += count

    def send(self, *values: bytes) -> None:
        producer = Producer(self.kafka)
        for number, value in enumerate(values):
            producer.send(self.setup.source, value, key=b"%d" % (self._given + number))
        assert producer.close(PATIENCE_S) == 0

    @asynccontextmanager
    async def running(self, errors: ErrorHandlers | None = None, **changes: Any) -> AsyncIterator[StreamsApp]:
        app = make_app(msgspec.structs.replace(self.setup, **changes), errors)
        async with app.running():
            yield app

    def out(self) -> dict[str, list[int]]:
        return totals(self.kafka, self.setup.sink)

    def faults(self) -> list[str]:
        return wrong(self.kafka, self.setup.source, self.setup.sink)

    def records(self, topic: str) -> list[Any]:
        return list(read_topic(self.kafka, topic))

    async def all_right(self) -> None:
        """Waits until everything that was given has come out, as it should."""
        deadline = time.monotonic() + PATIENCE_S
        while faults := await asyncio.to_thread(self.faults):
            assert time.monotonic() < deadline, faults
            await asyncio.sleep(0.1)


async def eventually(true: Callable[[], Any], what: str = "") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not await asyncio.to_thread(true):
        assert time.monotonic() < deadline, what or "it did not come about"
        await asyncio.sleep(0.05)


async def ready(app: StreamsApp) -> None:
    """Waits until every task of the instance runs."""
    await eventually(
        lambda: app.instance is not None and app.instance.status() and not app.health.wrong(),
        f"not ready: {app.health.wrong()}",
    )


@pytest.fixture
def stage(broker: Broker, topic_name: str, tmp_path: Path) -> Stage:
    return Stage(broker, topic_name, tmp_path)


@pytest.fixture
def local_stage(embedded_broker: Broker, topic_name: str, tmp_path: Path) -> Stage:
    """The same on the embedded broker only: for what does not depend on the broker."""
    return Stage(embedded_broker, topic_name, tmp_path)
