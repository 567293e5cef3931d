"""Records of one partition in hand together: `per_key` and `unordered`, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from typing import Any

import msgspec
import pytest

from ottla import App, ConfigurationError, Context, Retry, fixed, per_key, unordered
from tests.listeners.harness import World, eventually, service

KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


class Gate:
    """Holds handlers of some orders back; works for plain and async ones."""

    def __init__(self, *held: str) -> None:
        self.held = set(held)
        self.opened = threading.Event()
        self.waiting: set[str] = set()

    def pass_through(self, order_id: str) -> None:
        if order_id in self.held:
            self.waiting.add(order_id)
            assert self.opened.wait(60)

    async def pass_through_async(self, order_id: str) -> None:
        if order_id in self.held:
            self.waiting.add(order_id)
            assert await asyncio.to_thread(self.opened.wait, 60)


def listen(app: Any, world: World, kind: str, gate: Gate, seen: list[tuple[str, int]], **more: Any) -> None:
    if kind == "sync":

        @app.listen(world.Ordered, **more)
        def note(order: Any, ctx: Context) -> None:
            gate.pass_through(order.order_id)
            seen.append((order.order_id, order.quantity))
    else:

        @app.listen(world.Ordered, **more)
        async def note(order: Any, ctx: Context) -> None:
            await gate.pass_through_async(order.order_id)
            seen.append((order.order_id, order.quantity))


@KINDS
async def test_other_keys_go_on_while_one_is_held_up_and_it_keeps_its_order(world: World, kind: str) -> None:
    app, gate, seen = service(world), Gate("slow"), list[tuple[str, int]]()
    listen(app, world, kind, gate, seen, order=per_key(4))
    async with app.running():
        for n in range(5):
            await app.publish(world.Ordered("slow", n))
            await app.publish(world.Ordered(f"quick-{n}", n))
        await eventually(lambda: len(seen) == 5, what="the quick ones")
        assert {order_id for order_id, _ in seen} == {f"quick-{n}" for n in range(5)}
        assert world.committed(world.orders) == 0, "the first record is not finished"
        gate.opened.set()
        await eventually(lambda: world.committed(world.orders) == 10, what="the commit")
    assert [quantity for order_id, quantity in seen if order_id == "slow"] == [0, 1, 2, 3, 4]


@KINDS
async def test_without_order_records_of_one_key_overtake_each_other(world: World, kind: str) -> None:
    app, seen, gate = service(world), list[int](), threading.Event()
    if kind == "sync":

        @app.listen(world.Ordered, order=unordered(3))
        def note(order: Any) -> None:
            if order.quantity == 0:
                assert gate.wait(60)
            seen.append(order.quantity)
    else:

        @app.listen(world.Ordered, order=unordered(3))
        async def note(order: Any) -> None:
            if order.quantity == 0:
                assert await asyncio.to_thread(gate.wait, 60)
            seen.append(order.quantity)

    async with app.running():
        for n in range(4):
            await app.publish(world.Ordered("same", n))
        await eventually(lambda: len(seen) == 3, what="those behind the first")
        gate.set()
        await eventually(lambda: world.committed(world.orders) == 4, what="the commit")
    assert seen[-1] == 0


@KINDS
async def test_a_retry_holds_up_its_own_key_only(world: World, kind: str) -> None:
    app, seen, allowed = service(world), list[tuple[str, int]](), threading.Event()

    def handle(order: Any) -> None:
        if order.order_id == "bad" and order.quantity == 0 and not allowed.is_set():
            raise RuntimeError("not yet")
        seen.append((order.order_id, order.quantity))

    retry = Retry(attempts=10_000, backoff=fixed(0.02))
    if kind == "sync":
        app.listen(world.Ordered, order=per_key(2), retry=retry)(handle)
    else:

        async def handle_async(order: Any) -> None:
            handle(order)

        app.listen(world.Ordered, order=per_key(2), retry=retry)(handle_async)
    async with app.running():
        for n in range(3):
            await app.publish(world.Ordered("bad", n))
            await app.publish(world.Ordered("good", n))
        await eventually(lambda: len(seen) == 3, what="the good ones")
        assert {order_id for order_id, _ in seen} == {"good"}
        allowed.set()
        await eventually(lambda: world.committed(world.orders) == 6, what="the commit")
    assert [quantity for order_id, quantity in seen if order_id == "bad"] == [0, 1, 2]
    assert [quantity for order_id, quantity in seen if order_id == "good"] == [0, 1, 2]


@KINDS
async def test_records_finished_beyond_the_gap_are_not_handled_again_by_the_next_owner(world: World, kind: str) -> None:
    patience = msgspec.structs.replace(world.settings.listener, drain_timeout_s=0.2)
    first = App(world.group, settings=msgspec.structs.replace(world.settings, listener=patience))
    gate, seen, again = Gate("stuck"), list[tuple[str, int]](), list[tuple[str, int]]()
    listen(first, world, kind, gate, seen, order=per_key(4))
    async with first.running():
        await first.publish(world.Ordered("stuck", 0))
        for n in range(6):
            await first.publish(world.Ordered(f"o-{n}", n))
        await eventually(lambda: len(seen) == 6, what="all but the stuck one")
    assert world.committed(world.orders) == 0
    second = service(world)
    listen(second, world, kind, Gate(), again, order=per_key(4))
    async with second.running():
        await eventually(lambda: world.committed(world.orders) == 7, what="the last commit")
    gate.opened.set()
    assert again == [("stuck", 0)]


async def test_behind_a_record_that_hangs_only_so_many_are_taken_and_none_of_them_is_handled_again(
    world: World,
) -> None:
    listener = msgspec.structs.replace(
        world.settings.listener, drain_timeout_s=0.2, buffered_records_max=200, batch_records=50
    )
    settings = msgspec.structs.replace(world.settings, listener=listener)
    first, second = App(world.group, settings=settings), App(world.group, settings=settings)
    gate, seen, again = Gate("stuck"), list[tuple[str, int]](), list[tuple[str, int]]()
    listen(first, world, "async", gate, seen, order=unordered(8))
    listen(second, world, "async", Gate(), again, order=unordered(8))
    async with first.running():
        await first.publish_many([world.Ordered("stuck"), *(world.Ordered("o", n) for n in range(2_000))])
        runner, place = first._runner, (world.orders, 0)
        assert runner is not None

        def rests() -> bool:
            worker = runner._workers.get(place)
            return worker is not None and worker.paused and worker.tracker.beyond == worker.tracker.unfinished - 1

        await eventually(rests, what="it rests, with all but the stuck one handled")
        assert 150 <= len(seen) <= 250
    assert world.committed(world.orders) == 0
    async with second.running():
        await eventually(lambda: world.committed(world.orders) == 2_001, what="the last commit")
    gate.opened.set()
    assert sorted(seen + again) == [*(("o", n) for n in range(2_000)), ("stuck", 1)]


async def test_handlers_of_a_topic_must_agree_on_its_order(world: World) -> None:
    app = service(world)

    @app.listen(world.Ordered, order=per_key(4))
    async def reserve(order: Any) -> None: ...

    @app.listen(world.Cancelled)
    async def release(cancelled: Any) -> None: ...

    with pytest.raises(ConfigurationError, match=r"reserve \(order=per_key\(4\)\) and release \(order=per_partition\)"):
        async with app.running():
            pass


@KINDS
async def test_no_more_than_the_given_number_is_in_hand_and_each_key_keeps_its_order(world: World, kind: str) -> None:
    app, order = service(world), per_key(8)
    lock, in_hand, most, came = threading.Lock(), 0, 0, defaultdict[str, list[int]](list)

    def begin(one: Any) -> None:
        nonlocal in_hand, most
        with lock:
            in_hand += 1
            most = max(most, in_hand)
            came[one.order_id].append(one.quantity)

    def end() -> None:
        nonlocal in_hand
        with lock:
            in_hand -= 1

    if kind == "sync":

        @app.listen(world.Ordered, order=order)
        def note(one: Any) -> None:
            begin(one)
            threading.Event().wait(0.001)
            end()
    else:

        @app.listen(world.Ordered, order=order)
        async def note(one: Any) -> None:
            begin(one)
            await asyncio.sleep(0.001)
            end()

    async with app.running():
        await app.publish(world.Ordered("first"))
        for start in range(0, 600, 100):
            await asyncio.gather(*(app.publish(world.Ordered(f"o-{n % 13}", n)) for n in range(start, start + 100)))
        await eventually(lambda: world.committed(world.orders) == 601, what="the commit")
    assert 2 <= most <= 8
    assert sum(map(len, came.values())) == 601
    for numbers in came.values():
        assert numbers == sorted(numbers)
