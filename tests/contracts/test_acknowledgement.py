"""When a record counts as handled: `ack=`, batches that fail at one record, and filters; on both brokers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import msgspec
import pytest

from ottla import App, BatchFailed, Context, Retry, RetryTopics, event_type, fixed, per_key
from ottla.errors import HandlerError
from ottla.listeners.order import Order, per_partition
from tests.listeners.harness import World, eventually, headers_of, service

KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


def seldom(world: World) -> App:
    """An app that commits in the background next to never: what is committed, its handlers have committed."""
    limits = msgspec.structs.replace(world.settings.listener, commit_interval_s=600.0)
    return App(world.group, settings=msgspec.structs.replace(world.settings, listener=limits))


@pytest.mark.parametrize(("kind", "order"), [("sync", per_partition), ("async", per_key(4))], ids=str)
async def test_nothing_is_committed_past_a_record_that_was_not_acknowledged(
    world: World, kind: str, order: Order
) -> None:
    app, kept = service(world), dict[str, Context]()

    def handle(order: Any, ctx: Context) -> None:
        if order.order_id == "later":
            kept[order.order_id] = ctx
        else:
            ctx.ack()

    async def handle_async(order: Any, ctx: Context) -> None:
        handle(order, ctx)

    app.listen(world.Ordered, ack="manual", order=order)(handle if kind == "sync" else handle_async)
    async with app.running():
        for name in ("a", "later", "b", "c"):
            await app.publish(world.Ordered(name))
        await eventually(lambda: kept and world.committed(world.orders) == 1, what="the first one's commit")
        for _ in range(5):  # Several commit intervals later it is still so.
            await asyncio.sleep(0.06)
            assert world.committed(world.orders) == 1
        kept["later"].ack()
        await eventually(lambda: world.committed(world.orders) == 4, what="the last commit")


async def test_a_record_that_is_not_acknowledged_is_delivered_again_after_a_restart(world: World) -> None:
    first, second, seen = service(world), service(world), list[tuple[str, str]]()

    @first.listen(world.Ordered, ack="manual", name="handle")
    def ignore(order: Any, ctx: Context) -> None:
        seen.append(("first", order.order_id))

    @second.listen(world.Ordered, ack="manual", name="handle")
    def acknowledge(order: Any, ctx: Context) -> None:
        seen.append(("second", order.order_id))
        ctx.ack()

    async with first.running():
        await first.publish(world.Ordered("a"))
        await eventually(lambda: seen)
    async with second.running():
        await eventually(lambda: world.committed(world.orders) == 1)
    assert seen == [("first", "a"), ("second", "a")]


@KINDS
async def test_a_record_that_is_put_back_comes_again_after_its_delay_and_before_those_behind_it(
    world: World, kind: str
) -> None:
    app, calls = service(world), list[tuple[str, int, float]]()

    def handle(order: Any, ctx: Context) -> Any:
        calls.append((order.order_id, ctx.attempt, time.monotonic()))
        if order.order_id == "a" and ctx.attempt < 3:
            ctx.nack(0.3)
            return world.Reserved("not to be published")
        ctx.ack()
        return world.Reserved(order.order_id)

    async def handle_async(order: Any, ctx: Context) -> Any:
        return handle(order, ctx)

    # attempts=1: to be put back is no failure.
    app.listen(world.Ordered, ack="manual", retry=Retry(attempts=1))(handle if kind == "sync" else handle_async)
    async with app.running():
        for name in ("a", "b"):
            await app.publish(world.Ordered(name))
        await eventually(lambda: world.committed(world.orders) == 2)
    assert [(name, attempt) for name, attempt, _ in calls] == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert min(calls[1][2] - calls[0][2], calls[2][2] - calls[1][2]) >= 0.3
    assert [one.key for one in world.records(world.stock)] == [b"a", b"b"]


async def test_a_failing_handler_of_manual_acknowledgement_is_retried_and_dead_lettered_as_any(world: World) -> None:
    app = service(world)

    @app.listen(world.Ordered, ack="manual", retry=Retry(attempts=2, backoff=fixed(0.01)))
    def refuse(order: Any, ctx: Context) -> None:
        ctx.ack()
        raise ValueError

    async with app.running():
        await app.publish(world.Ordered("a"))
        await eventually(lambda: world.committed(world.orders) == 1)
        (letter,) = world.dead_letters(world.orders)
    assert headers_of(letter)["ottla-attempts"] == b"2"


async def test_acknowledging_by_hand_is_for_handlers_that_asked_for_it(world: World) -> None:
    app, told = service(world), list[str]()

    @app.listen(world.Ordered)
    def handle(order: Any, ctx: Context) -> None:
        with pytest.raises(HandlerError) as caught:
            ctx.ack()
        told.append(str(caught.value))

    async with app.running():
        await app.publish(world.Ordered("a"))
        await eventually(lambda: told)
    assert "ack='manual'" in told[0]


async def test_the_background_commits_after_so_many_records_whatever_the_clock_says(world: World) -> None:
    limits = msgspec.structs.replace(world.settings.listener, commit_interval_s=600.0, commit_records_max=5)
    app = App(world.group, settings=msgspec.structs.replace(world.settings, listener=limits))
    app.listen(world.Ordered)(lambda order: None)
    async with app.running():
        for n in range(4):
            await app.publish(world.Ordered(f"o-{n}"))
        await eventually(lambda: app._runner and app._runner._finished() == 4)
        first = world.committed(world.orders)
        await asyncio.gather(*(app.publish(world.Ordered(f"o-{n}")) for n in range(6)))
        await eventually(lambda: world.committed(world.orders) >= 5, what="the commit")
        assert first < 5


@KINDS
async def test_each_record_is_committed_before_the_next_one_is_begun(world: World, kind: str) -> None:
    app, found = seldom(world), list[int]()

    def handle(order: Any) -> Any:
        found.append(world.committed(world.orders))
        return world.Reserved(order.order_id)

    async def handle_async(order: Any) -> Any:
        return await asyncio.to_thread(handle, order)

    app.listen(world.Ordered, ack="record")(handle if kind == "sync" else handle_async)
    async with app.running():
        await asyncio.gather(*(app.publish(world.Ordered(f"o-{n}")) for n in range(5)))
        await eventually(lambda: world.committed(world.orders) == 5, what="the last commit")
    assert found == [0, 1, 2, 3, 4]


@KINDS
async def test_each_batch_is_committed_before_the_next_one_is_begun(world: World, kind: str) -> None:
    app, begun = seldom(world), list[tuple[int, int]]()

    def handle(orders: list[Any], contexts: list[Context]) -> None:
        begun.append((contexts[0].offset, world.committed(world.orders)))

    async def handle_async(orders: list[Any], contexts: list[Context]) -> None:
        await asyncio.to_thread(handle, orders, contexts)

    app.listen(world.Ordered, batch=4, ack="batch")(handle if kind == "sync" else handle_async)
    async with app.running():
        await asyncio.gather(*(app.publish(world.Ordered(f"o-{n}")) for n in range(12)))
        await eventually(lambda: world.committed(world.orders) == 12, what="the last commit")
    assert [first for first, _ in begun] == [committed for _, committed in begun]


@pytest.mark.parametrize(("kind", "once"), [("sync", False), ("async", True)], ids=str)
async def test_a_batch_that_fails_at_one_record_keeps_what_came_before_and_goes_on_behind_it(
    world: World, kind: str, once: bool
) -> None:
    app, given, started = service(world), list[list[str]](), threading.Event()

    def handle(orders: list[Any]) -> list[Any]:
        given.append([one.order_id for one in orders])
        started.wait(30)
        for index, one in enumerate(orders):
            if one.order_id == "bad":
                before = [world.Reserved(done.order_id) for done in orders[:index]]
                raise BatchFailed(index, ValueError("no such article"), before)
        return [world.Reserved(one.order_id) for one in orders]

    async def handle_async(orders: list[Any]) -> list[Any]:
        return await asyncio.to_thread(handle, orders)

    app.listen(world.Ordered, batch=50, exactly_once=once, retry=Retry(attempts=2, backoff=fixed(0.01)), name="handle")(
        handle if kind == "sync" else handle_async
    )
    async with app.running():
        await app.publish(world.Ordered("first"))
        await eventually(lambda: given)
        for name in ("a", "b", "bad", "c", "d"):  # These arrive while the first one is in hand: one batch.
            await app.publish(world.Ordered(name))
        await eventually(lambda: app._runner and any(w.tracker.unfinished == 6 for w in app._runner._workers.values()))
        started.set()
        await eventually(lambda: world.committed(world.orders) >= 6)
        letters = await eventually(lambda: world.dead_letters(world.orders))
    assert given == [["first"], ["a", "b", "bad", "c", "d"], ["bad"], ["c", "d"]]
    assert [letter.key for letter in letters] == [b"bad"]
    assert headers_of(letters[0])["kafka_dlt-exception-fqcn"] == b"builtins.ValueError"
    assert headers_of(letters[0])["ottla-attempts"] == b"2"
    assert [one.key for one in world.records(world.stock)] == [b"first", b"a", b"b", b"c", b"d"]


async def test_a_record_at_which_a_batch_failed_goes_through_retry_topics_with_its_key(world: World) -> None:
    app, done = service(world), list[tuple[str, int]]()

    @app.listen(
        world.Ordered, batch=50, retry=Retry(attempts=1, topics=RetryTopics([0.3], keep_key_order=True)), name="handle"
    )
    def handle(orders: list[Any], contexts: list[Context]) -> None:
        for index, (one, ctx) in enumerate(zip(orders, contexts, strict=True)):
            if (one.order_id, one.quantity) == ("a", 0) and ctx.attempt == 1:
                raise BatchFailed(index, TimeoutError())
            done.append((one.order_id, one.quantity))

    async with app.running():
        await asyncio.gather(*(app.publish(world.Ordered(key, 0)) for key in "ab"))
        await asyncio.gather(*(app.publish(world.Ordered(key, 1)) for key in "ab"))
        await eventually(lambda: len(set(done)) == 4, what="all four")
    assert Counter(done) == Counter({(key, n): 1 for key in "ab" for n in (0, 1)})
    assert done.index(("a", 0)) < done.index(("a", 1))
    assert done.index(("b", 1)) < done.index(("a", 0)), "the other key waited"


@KINDS
async def test_a_filter_passes_over_what_the_handler_does_not_want(world: World, kind: str) -> None:
    app, seen = service(world), list[str]()

    def wanted(order: Any, ctx: Context) -> bool:
        if order.order_id == "broken":
            raise KeyError("what is this")
        return order.quantity > 1 and ctx.offset < 100

    def handle(order: Any) -> None:
        seen.append(order.order_id)

    async def handle_async(order: Any) -> None:
        seen.append(order.order_id)

    app.listen(world.Ordered, filter=wanted, name="handle")(handle if kind == "sync" else handle_async)
    async with app.running():
        for name, quantity in (("a", 1), ("b", 2), ("broken", 3), ("c", 4)):
            await app.publish(world.Ordered(name, quantity))
        await eventually(lambda: world.committed(world.orders) == 4)
        (letter,) = world.dead_letters(world.orders)
    assert seen == ["b", "c"]
    assert letter.key == b"broken"
    assert event_type(world.Ordered).topic == world.orders
    assert f'ottla_records_skipped_total{{service="{world.group}",topic="{world.orders}"}} 1.0' in (
        app.metrics.page().decode()
    )
