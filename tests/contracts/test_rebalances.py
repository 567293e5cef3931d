"""What members of a group do when partitions move, on both brokers."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

import msgspec
import pytest

from ottla import App
from tests.listeners.harness import World, eventually, service


async def test_members_of_a_group_share_partitions_and_nothing_is_lost_while_they_come_and_go(world: World) -> None:
    world.partitions = 4
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def member() -> App:
        app = service(world)

        @app.listen(world.Ordered)
        def note(order: Any) -> None:
            with lock:
                seen[order.order_id] += 1

        return app

    first, second = member(), member()
    async with first.running():
        await asyncio.gather(*(first.publish(world.Ordered(f"a-{n}")) for n in range(200)))
        async with second.running():
            await eventually(lambda: first._runner and second._runner and len(second._runner.positions()) == 2)
            await asyncio.gather(*(first.publish(world.Ordered(f"b-{n}")) for n in range(200)))
            await eventually(lambda: len(seen) == 400)
        await asyncio.gather(*(first.publish(world.Ordered(f"c-{n}")) for n in range(200)))
        await eventually(lambda: len(seen) == 600)
    # Partitions moved in an orderly way both times, so nothing was handled twice either.
    assert set(seen.values()) == {1}


async def test_a_paused_partition_that_went_to_another_member_and_came_back_is_read_again(world: World) -> None:
    world.partitions = 2
    limits = msgspec.structs.replace(
        world.settings.listener, buffered_records_max=10, batch_records=5, drain_timeout_s=1.0
    )
    settings = msgspec.structs.replace(world.settings, listener=limits)
    gate = threading.Event()

    def member() -> App:
        app = App(world.group, settings=settings)

        @app.listen(world.Ordered)
        def slow(order: Any) -> None:
            gate.wait(60)

        return app

    def workers(app: App) -> list[Any]:
        return list(app._runner._workers.values()) if app._runner else []

    first, second = member(), member()
    async with first.running():
        await asyncio.gather(*(first.publish(world.Ordered(f"o-{n}")) for n in range(200)))
        await eventually(lambda: [worker.paused for worker in workers(first)] == [True, True])
        async with second.running():
            await eventually(lambda: len(workers(second)) == 1)
        await eventually(lambda: len(workers(first)) == 2)
        gate.set()
        await eventually(lambda: world.committed(world.orders, 0) + world.committed(world.orders, 1) == 200)


async def test_a_member_whose_consumer_thread_ended_leaves_its_partitions_to_others(world: World) -> None:
    seen: list[str] = []

    def member() -> App:
        app = service(world)

        @app.listen(world.Ordered)
        def note(order: Any) -> None:
            seen.append(order.order_id)

        return app

    def broken() -> None:
        raise RuntimeError("a fault of the machinery")

    first, second = member(), member()
    async with first.running():
        await eventually(lambda: first._runner and first._runner._workers)
        first._runner._poll = broken  # type: ignore[union-attr, method-assign]
        await eventually(first.health.dead)
        async with second.running():
            await second.publish(world.Ordered("o-1"))
            await eventually(lambda: seen == ["o-1"], within_s=20)


async def test_what_a_member_that_lost_its_partitions_had_in_hand_is_handled_by_the_next_owner(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Its consumer thread hangs for longer than max.poll.interval: the group gives its partitions to another member,
    and whatever it finishes meanwhile must not be committed over that member's progress."""
    world.partitions = 2
    listener = msgspec.structs.replace(world.settings.listener, max_poll_interval_s=6.0)
    settings = msgspec.structs.replace(world.settings, listener=listener)
    entered, gate, seen = threading.Event(), threading.Event(), list[tuple[str, str]]()

    def member(name: str) -> App:
        app = App(world.group, settings=settings)

        @app.listen(world.Ordered, name="note")
        def note(order: Any) -> None:
            if name == "first":
                entered.set()
                assert gate.wait(60)
            seen.append((name, order.order_id))

        return app

    first, second = member("first"), member("second")
    async with first.running():
        await first.publish_many([world.Ordered(f"o-{n}") for n in range(40)])
        await eventually(entered.is_set, what="a record in hand")
        runner: Any = first._runner
        poll, hung = runner._poll, threading.Event()

        def hang() -> None:
            runner._poll = poll
            hung.set()
            assert gate.wait(60)

        runner._poll = hang
        await eventually(hung.is_set, what="the consumer thread that hangs")
        async with second.running():
            orders = {f"o-{n}" for n in range(40)}
            await eventually(lambda: {order for name, order in seen if name == "second"} == orders, within_s=60)
            await eventually(lambda: sum(world.committed(world.orders, n) for n in range(2)) == 40)
            gate.set()
            await eventually(lambda: "lost " in caplog.text, what="the loss")
            await second.publish(world.Ordered("after"))
            await eventually(lambda: "after" in {order for _, order in seen}, what="a record after it")
            await eventually(lambda: sum(world.committed(world.orders, n) for n in range(2)) == 41)
    assert sum(world.committed(world.orders, n) for n in range(2)) == 41
