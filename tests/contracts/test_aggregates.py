"""Aggregates over a broker: embedded and Apache Kafka alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ottla.errors import Refused, VersionConflict
from ottla.eventsourcing.app import AggregateApp
from ottla.kafka.reader import read_topic
from ottla.settings import StreamsSettings
from tests.eventsourcing.accounts import Accounts, accounts
from tests.listeners.harness import World

PATIENCE_S = 60.0


class Bank:
    """The accounts of a test, on topics of its own."""

    def __init__(self, world: World, name: str, folder: Path) -> None:
        self.name = name
        self.world = world
        streams = StreamsSettings(state_dir=str(folder / "state"), session_timeout_s=6.0, transaction_timeout_s=6.0)
        kafka = msgspec.structs.replace(world.settings.kafka, topic_partitions=3)
        self.settings = msgspec.structs.replace(world.settings, streams=streams, kafka=kafka)

    @asynccontextmanager
    async def running(self, of: Accounts) -> AsyncIterator[AggregateApp]:
        app = AggregateApp(f"{self.name}-app", of.aggregate, settings=self.settings)
        async with app.running():
            yield app

    def events(self) -> list[Any]:
        return list(read_topic(self.settings.kafka, self.name))


@pytest.fixture
def bank(world: World, topic_name: str, tmp_path: Path) -> Bank:
    return Bank(world, topic_name, tmp_path)


async def test_a_command_is_decided_and_answered(bank: Bank) -> None:
    of = accounts(bank.name)
    async with bank.running(of) as app:
        opened = await app.tell(of.Open("a"), timeout_s=PATIENCE_S)
        assert (opened.version, opened.events) == (1, ("Opened",))
        moved = await app.tell(of.Move("a", [1, 2, 3]), timeout_s=PATIENCE_S)
        assert moved.version == 4
        with pytest.raises(Refused, match="more than the 6") as refusal:
            await app.tell(of.Draw("a", 7), timeout_s=PATIENCE_S)
        assert refusal.value.kind == "tests.eventsourcing.accounts.TooPoor"
        with pytest.raises(VersionConflict, match="version 4 by now"):
            await app.tell(of.Draw("a", 1), expected_version=3, timeout_s=PATIENCE_S)
        there = await app.get(of.aggregate, "a", at_least=4, timeout_s=PATIENCE_S)
        assert there is not None
        assert there.state == of.aggregate.state("ann", 6, [1, 2, 3])
        history = await app.history(of.aggregate, "a", timeout_s=PATIENCE_S)
        assert [(one.version, one.event) for one in history] == [
            (1, of.Opened("a", "ann")),
            (2, of.Paid("a", 1)),
            (3, of.Paid("a", 2)),
            (4, of.Paid("a", 3)),
        ]
