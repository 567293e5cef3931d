"""`exactly_once=True`: outputs, dead letters and offsets committed together, on the embedded broker and on Kafka."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

import msgspec
import pytest

from ottla import App, ConfigurationError, Context, Retry, Settings, fixed, per_key
from ottla.errors import TransactionAborted
from ottla.events import read_envelope
from ottla.kafka.record import Record
from ottla.kafka.transactions import TransactionalProducer
from tests.listeners.harness import World, eventually, headers_of

KINDS = pytest.mark.parametrize("kind", ["sync", "async"])
ONCE = Retry(attempts=1)


def settings(world: World, **more: Any) -> Settings:
    limits = msgspec.structs.replace(world.settings.listener, transaction_interval_s=0.05, **more)
    return msgspec.structs.replace(world.settings, listener=limits)


def app_of(world: World, **more: Any) -> App:
    return App(world.group, settings=settings(world, **more))


def listen(app: App, world: World, kind: str, **more: Any) -> Counter[str]:
    """Reserves every order, exactly once; tells how often the handler was called for each."""
    called: Counter[str] = Counter()
    if kind == "sync":

        @app.listen(world.Ordered, exactly_once=True, **more)
        def reserve(order: Any) -> Any:
            called[order.order_id] += 1
            return world.Reserved(order.order_id, by=str(order.quantity))
    else:

        @app.listen(world.Ordered, exactly_once=True, **more)
        async def reserve(order: Any) -> Any:
            called[order.order_id] += 1
            return world.Reserved(order.order_id, by=str(order.quantity))

    return called


def reserved(world: World) -> list[Record]:
    """What a reader of committed records sees."""
    return world.records(world.stock)


def causes(records: list[Record]) -> Counter[str]:
    return Counter(str(envelope.causation_id) for one in records if (envelope := read_envelope(one.headers)))


@KINDS
async def test_outputs_and_offsets_are_committed_together(world: World, kind: str) -> None:
    app = app_of(world)
    listen(app, world, kind)
    async with app.running():
        for n in range(50):
            await app.publish(world.Ordered(f"o-{n}", n), event_id=f"e-{n}")
        await eventually(lambda: world.committed(world.orders) == 50, what="the commit")
        assert causes(reserved(world)) == Counter({f"e-{n}": 1 for n in range(50)})


@KINDS
async def test_what_was_not_committed_is_undone_and_handled_again(
    world: World, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, failing = app_of(world), threading.Event()
    called = listen(app, world, kind)
    commit = TransactionalProducer.commit

    def fail_first(self: TransactionalProducer) -> None:
        if failing.is_set():
            failing.clear()
            raise TransactionAborted("as the test wants it")
        commit(self)

    monkeypatch.setattr(TransactionalProducer, "commit", fail_first)
    async with app.running():
        await app.publish(world.Ordered("o-0"), event_id="e-0")
        await eventually(lambda: world.committed(world.orders) == 1, what="the first commit")
        failing.set()
        await app.publish(world.Ordered("o-1"), event_id="e-1")
        await eventually(lambda: world.committed(world.orders) == 2, what="the commit after the failed one")
        assert called == Counter({"o-0": 1, "o-1": 2})
        assert causes(reserved(world)) == Counter({"e-0": 1, "e-1": 1})
    assert app.health.wrong() == []


@KINDS
async def test_a_commit_of_unknown_outcome_is_settled_by_asking(
    world: World, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ottla.errors import BrokerUnavailable

    app, failing = app_of(world), threading.Event()
    called = listen(app, world, kind)
    commit = TransactionalProducer.commit

    def commit_and_lose_the_answer(self: TransactionalProducer) -> None:
        commit(self)
        if failing.is_set():
            failing.clear()
            raise BrokerUnavailable("the answer was lost")

    monkeypatch.setattr(TransactionalProducer, "commit", commit_and_lose_the_answer)
    async with app.running():
        await app.publish(world.Ordered("o-0"), event_id="e-0")
        await eventually(lambda: world.committed(world.orders) == 1, what="the first commit")
        failing.set()
        for n in range(1, 20):
            await app.publish(world.Ordered(f"o-{n}"), event_id=f"e-{n}")
        await eventually(lambda: world.committed(world.orders) == 20, what="the last commit")
        await eventually(lambda: not failing.is_set(), what="the lost answer")
        assert causes(reserved(world)) == Counter({f"e-{n}": 1 for n in range(20)})
    assert called["o-0"] == 1


@KINDS
async def test_a_dead_letter_is_part_of_the_transaction(world: World, kind: str) -> None:
    app = app_of(world)

    def fail_odd(order: Any) -> Any:
        if order.quantity % 2:
            raise ValueError("odd")
        return world.Reserved(order.order_id)

    if kind == "sync":
        app.listen(world.Ordered, exactly_once=True, retry=ONCE, name="reserve")(fail_odd)
    else:

        async def fail_odd_later(order: Any) -> Any:
            return fail_odd(order)

        app.listen(world.Ordered, exactly_once=True, retry=ONCE, name="reserve")(fail_odd_later)
    async with app.running():
        for n in range(10):
            await app.publish(world.Ordered(f"o-{n}", n), event_id=f"e-{n}")
        await eventually(lambda: world.committed(world.orders) == 10, what="the commit")
        letters = world.dead_letters(world.orders)
        assert sorted(headers_of(one)["ottla-event-id"].decode() for one in letters) == [
            f"e-{n}" for n in (1, 3, 5, 7, 9)
        ]
        assert causes(reserved(world)) == Counter({f"e-{n}": 1 for n in (0, 2, 4, 6, 8)})


async def test_an_output_that_the_broker_refuses_is_dead_lettered_and_nothing_of_it_is_seen(world: World) -> None:
    app = app_of(world)

    @app.listen(world.Ordered, exactly_once=True)
    def reserve(order: Any) -> Any:
        size = 3_000_000 if order.order_id == "large" else 1
        return [world.Reserved(order.order_id, by="small"), world.Reserved(order.order_id, by="x" * size)]

    async with app.running():
        await app.publish(world.Ordered("first"), event_id="e-0")
        await app.publish(world.Ordered("large"), event_id="e-1")
        await app.publish(world.Ordered("last"), event_id="e-2")
        await eventually(lambda: world.committed(world.orders) == 3, what="the commit")
        (letter,) = world.dead_letters(world.orders)
        assert headers_of(letter)["ottla-event-id"] == b"e-1"
        assert b"refused" in headers_of(letter)["kafka_dlt-exception-message"]
        assert causes(reserved(world)) == Counter({"e-0": 2, "e-2": 2})


async def test_keys_in_parallel_are_handled_exactly_once_over_a_restart(world: World) -> None:
    gate, seen, again = threading.Event(), list[str](), list[str]()

    def declare(app: App, into: list[str], hold: bool) -> None:
        @app.listen(world.Ordered, exactly_once=True, order=per_key(8))
        async def reserve(order: Any) -> Any:
            if hold and order.order_id == "stuck":
                assert await asyncio.to_thread(gate.wait, 60)
            into.append(order.order_id)
            return world.Reserved(order.order_id)

    first = app_of(world, drain_timeout_s=0.5)
    declare(first, seen, hold=True)
    async with first.running():
        await first.publish(world.Ordered("stuck"), event_id="e-stuck")
        for n in range(20):
            await first.publish(world.Ordered(f"o-{n}"), event_id=f"e-{n}")
        await eventually(lambda: len(reserved(world)) == 20, what="all but the stuck one")
    assert world.committed(world.orders) == 0
    second = app_of(world)
    declare(second, again, hold=False)
    async with second.running():
        await eventually(lambda: world.committed(world.orders) == 21, what="the last commit")
        gate.set()
        assert again == ["stuck"]
        assert causes(reserved(world)) == Counter({"e-stuck": 1, **{f"e-{n}": 1 for n in range(20)}})


async def test_a_rebalance_neither_loses_nor_doubles(world: World) -> None:
    world.partitions = 4
    apps = [app_of(world) for _ in range(3)]
    for app in apps:
        listen(app, world, "sync")
    total = 300
    async with apps[0].running():
        for n in range(100):
            await apps[0].publish(world.Ordered(f"o-{n}"), event_id=f"e-{n}")
        async with apps[1].running():
            for n in range(100, 200):
                await apps[0].publish(world.Ordered(f"o-{n}"), event_id=f"e-{n}")
            async with apps[2].running():
                for n in range(200, total):
                    await apps[0].publish(world.Ordered(f"o-{n}"), event_id=f"e-{n}")
        await eventually(lambda: len(reserved(world)) >= total, what="all reservations")
    assert causes(reserved(world)) == Counter({f"e-{n}": 1 for n in range(total)})


async def test_retries_go_on_over_transactions(world: World) -> None:
    app, allowed = app_of(world), threading.Event()

    @app.listen(world.Ordered, exactly_once=True, retry=Retry(attempts=10_000, backoff=fixed(0.02)))
    def reserve(order: Any, ctx: Context) -> Any:
        if order.order_id == "o-1" and not allowed.is_set():
            raise RuntimeError("not yet")
        return world.Reserved(order.order_id)

    async with app.running():
        for n in range(3):
            await app.publish(world.Ordered(f"o-{n}"), event_id=f"e-{n}")
        await eventually(lambda: world.committed(world.orders) == 1, what="what came before")
        allowed.set()
        await eventually(lambda: world.committed(world.orders) == 3, what="the rest")
        assert causes(reserved(world)) == Counter({"e-0": 1, "e-1": 1, "e-2": 1})


async def test_handlers_of_a_topic_must_agree(world: World) -> None:
    app = app_of(world)
    listen(app, world, "sync")

    @app.listen(world.Cancelled)
    def release(cancelled: Any) -> None: ...

    with pytest.raises(ConfigurationError, match=r"reserve \(exactly_once=True\) and release \(exactly_once=False\)"):
        async with app.running():
            pass


async def test_other_topics_of_the_same_service_stay_at_least_once(world: World) -> None:
    app, seen = app_of(world), list[str]()
    listen(app, world, "sync")

    @app.listen(world.Reserved)
    def note(one: Any) -> None:
        seen.append(one.order_id)

    async with app.running():
        for n in range(5):
            await app.publish(world.Ordered(f"o-{n}"))
        await eventually(lambda: world.committed(world.orders) == 5, what="the transaction")
        await eventually(lambda: len(seen) == 5, what="the reservations")
        # Each transaction ends with a marker that takes an offset: the position is beyond the five records.
        await eventually(lambda: world.committed(world.stock) >= 5, what="the other commit")
