"""Aggregates over a broker: embedded and Apache Kafka alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ottla import App, Decided, RegistryClient
from ottla.errors import HistoryBroken, Refused, RequestFailed, VersionConflict
from ottla.eventsourcing.app import AggregateApp
from ottla.kafka.producer import Producer
from ottla.kafka.reader import read_topic
from ottla.serde import Serializer
from ottla.settings import StreamsSettings
from tests.eventsourcing.accounts import Accounts, accounts
from tests.listeners.harness import World, eventually

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


async def test_a_command_that_is_told_twice_has_its_events_once(bank: Bank) -> None:
    of = accounts(bank.name)
    async with bank.running(of) as app:
        await app.tell(of.Open("a"), timeout_s=PATIENCE_S)
        first = await app.tell(of.Pay("a", 5), command_id="pay-5", timeout_s=PATIENCE_S)
        with pytest.raises(Refused):
            await app.tell(of.Draw("a", 9), command_id="draw-9", timeout_s=PATIENCE_S)
        await app.tell(of.Pay("a", 7), timeout_s=PATIENCE_S)
        assert await app.tell(of.Pay("a", 5), command_id="pay-5", timeout_s=PATIENCE_S) == first
    async with bank.running(of) as app:  # what was remembered outlives the process
        assert await app.tell(of.Pay("a", 5), command_id="pay-5", timeout_s=PATIENCE_S) == first
        with pytest.raises(Refused, match="more than the 5"):  # as it was answered then, though there are 12 by now
            await app.tell(of.Draw("a", 9), command_id="draw-9", timeout_s=PATIENCE_S)
        there = await app.get(of.aggregate, "a", timeout_s=PATIENCE_S)
    assert there is not None
    assert there.state is not None
    assert (there.version, there.state.balance) == (3, 12)
    assert len(bank.events()) == 3


async def test_who_was_slower_looks_and_decides_again(bank: Bank) -> None:
    """Ten who draw all there is at once: each sees another balance, and none is drawn twice."""
    of = accounts(bank.name)
    async with bank.running(of) as app:
        await app.tell(of.Open("a"), timeout_s=PATIENCE_S)
        await app.tell(of.Pay("a", 1), timeout_s=PATIENCE_S)
        looked: list[int] = []

        def double(there: Any) -> Any:
            looked.append(there.version)
            return of.Pay("a", there.state.balance)

        updates = [app.update(of.aggregate, "a", double, attempts=50, timeout_s=PATIENCE_S) for _ in range(5)]
        await asyncio.gather(*updates)
        there = await app.get(of.aggregate, "a", at_least=7, timeout_s=PATIENCE_S)
    assert there is not None
    assert there.state is not None
    assert there.state.balance == 2**5
    assert len(looked) > 5, "nobody was slower"


class Statement(msgspec.Struct):
    """The state of another time: it knows something that only the events know."""

    owner: str
    balance: int = 0
    payments: list[int] = []
    largest: int = 0


async def test_a_changed_state_is_made_anew_from_the_events(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ottla.eventsourcing.replay.CHUNK", 3)
    before = accounts(bank.name)
    keys = [f"k{number}" for number in range(6)]
    async with bank.running(before) as app:
        for key in keys:
            await app.tell(before.Open(key), timeout_s=PATIENCE_S)
        await asyncio.gather(*(app.tell(before.Move(key, [3, 5]), timeout_s=PATIENCE_S) for key in keys))
    after = accounts(bank.name, state=Statement)
    async with bank.running(after) as app:
        paid = await app.tell(after.Pay("k3", 9), timeout_s=PATIENCE_S)  # waits until the states are there
        assert paid.version == 4
        for key in keys:
            there = await app.get(after.aggregate, key, timeout_s=PATIENCE_S)
            assert there is not None
            if key != "k3":
                assert (there.version, there.state) == (3, Statement("ann", 8, [3, 5]))
        there = await app.get(after.aggregate, "k3", at_least=4, timeout_s=PATIENCE_S)
        assert there is not None
        assert there.state == Statement("ann", 17, [3, 5, 9])
        assert 'ottla_aggregate_commands_total{aggregate="account",outcome="accepted"' in app.metrics.page().decode()


async def test_another_service_asks_by_request(bank: Bank) -> None:
    of = accounts(bank.name)
    service = App(f"{bank.name}-desk", settings=bank.settings)
    async with bank.running(of), service.running():
        value = await service.request(of.Open("a"), reply_type=bytes, timeout_s=PATIENCE_S)
        assert Decided.read(value) == Decided("account", "a", 1, ("Opened",))
        with pytest.raises(RequestFailed, match="more than the 0") as failure:
            await service.request(of.Draw("a", 1), reply_type=bytes, timeout_s=PATIENCE_S)
        assert failure.value.kind == "tests.eventsourcing.accounts.TooPoor"
        stale: list[tuple[str, bytes | None]] = [("ottla-expected-version", b"0")]
        with pytest.raises(RequestFailed) as failure:
            await service.request(of.Pay("a", 1), reply_type=bytes, headers=stale, timeout_s=PATIENCE_S)
        assert failure.value.kind == "ottla.errors.VersionConflict"


async def test_events_that_are_gone_are_missed_aloud(bank: Bank) -> None:
    of = accounts(bank.name)
    async with bank.running(of) as app:
        await app.tell(of.Open("a"), timeout_s=PATIENCE_S)
        await app.tell(of.Move("a", [1, 2, 3]), timeout_s=PATIENCE_S)
        (partition,) = {record.partition for record in bank.events()}
        bank.world.admin.delete_records({(bank.name, partition): 2})
        with pytest.raises(HistoryBroken, match=r"retention\.ms"):
            await app.history(of.aggregate, "a", timeout_s=PATIENCE_S)


async def test_a_defect_is_answered_and_goes_to_the_dead_letters(bank: Bank) -> None:
    of = accounts(bank.name)
    async with bank.running(of) as app:
        await app.tell(of.Open("a"), timeout_s=PATIENCE_S)
        with pytest.raises(RequestFailed, match="a defect") as failure:
            await app.tell(of.Pay("a", 13), timeout_s=PATIENCE_S)
        assert failure.value.kind == "ZeroDivisionError"
        assert (await app.tell(of.Pay("a", 14), timeout_s=PATIENCE_S)).version == 2
    assert len(bank.world.dead_letters(f"{bank.name}-commands")) == 1


async def test_an_answer_that_nobody_can_take_holds_up_nobody(bank: Bank) -> None:
    """A command that asks for its answer on a topic that does not exist, and one for a partition that does not."""
    of = accounts(bank.name)
    async with bank.running(of) as app:
        await app.tell(of.Open("a"), timeout_s=PATIENCE_S)
        value = Serializer(RegistryClient(bank.settings.registry.url)).encode(of.Pay("a", 1), f"{bank.name}-commands")
        producer = Producer(bank.settings.kafka)
        addresses: list[list[tuple[str, bytes | None]]] = [
            [("kafka_replyTopic", b"there-is-no-such-topic")],
            [("kafka_replyTopic", bank.name.encode()), ("kafka_replyPartition", (99).to_bytes(4, "big"))],
        ]
        for address in addresses:
            producer.send(f"{bank.name}-commands", value, key=b"a", headers=address)
        assert await asyncio.to_thread(producer.close, PATIENCE_S) == 0
        assert (await app.tell(of.Pay("a", 2), timeout_s=PATIENCE_S)).version == 4


async def test_topics_that_do_not_fit_are_refused(bank: Bank) -> None:
    of = accounts(bank.name)
    bank.world.admin.ensure_topics({bank.name: 2, f"{bank.name}-commands": 3})
    async with bank.running(of) as app:
        await eventually(lambda: "the same number" in "".join(app.health.wrong()))
