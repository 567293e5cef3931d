"""Pause, resume and seek, hooks, and how members share partitions, on both brokers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from ottla import App, Context, Retry, RetryTopics, Settings, per_key
from ottla.errors import KafkaError
from tests.listeners.harness import World, eventually, service

LONG = int(os.environ.get("OTTLA_ROUNDS", "2")) > 2
SOME_KINDS = pytest.mark.parametrize("kind", ["sync", "async"] if LONG else ["sync"])


def with_limits(world: World, properties: dict[str, Any] | None = None, **limits: Any) -> Settings:
    kafka = msgspec.structs.replace(
        world.settings.kafka, properties={**world.settings.kafka.properties, **(properties or {})}
    )
    listener = msgspec.structs.replace(world.settings.listener, **limits)
    return msgspec.structs.replace(world.settings, kafka=kafka, listener=listener)


def listen(app: App, world: World, kind: str, seen: list[Any], **more: Any) -> None:
    if kind == "sync":

        @app.listen(world.Ordered, name="note", **more)
        def note(order: Any) -> None:
            seen.append(order.quantity)
    else:

        @app.listen(world.Ordered, name="note", **more)
        async def note_async(order: Any) -> None:
            seen.append(order.quantity)


async def publish(app: App, world: World, *numbers: int) -> None:
    for number in numbers:
        await app.publish(world.Ordered("same", number))


@SOME_KINDS
async def test_a_paused_topic_gives_no_records_until_it_is_resumed_and_others_go_on(world: World, kind: str) -> None:
    app, seen, others = service(world), list[int](), list[str]()
    listen(app, world, kind, seen)

    @app.listen(world.Reserved)
    def other(one: Any) -> None:
        others.append(one.order_id)

    async with app.running():
        await publish(app, world, 0)
        await eventually(lambda: seen == [0])
        app.consumer.pause(world.Ordered)
        assert app.consumer.paused(world.orders, 0)
        runner = app._runner
        assert runner is not None
        await eventually(lambda: runner._workers[world.orders, 0].paused)
        await publish(app, world, 1, 2)
        await app.publish(world.Reserved("a"))
        await eventually(lambda: others == ["a"])
        assert seen == [0]
        await eventually(lambda: app.health.wrong() == [], what="that a pause is no fault")
        app.consumer.resume(world.Ordered)
        await eventually(lambda: seen == [0, 1, 2])


@pytest.mark.parametrize(("kind", "once"), [("sync", False), ("async", True)], ids=str)
async def test_a_seek_goes_on_from_an_offset_a_moment_the_beginning_or_the_end(
    world: World, kind: str, once: bool
) -> None:
    app, seen = service(world), list[int]()
    listen(app, world, kind, seen, exactly_once=once, order=per_key(2) if kind == "async" else per_key(1))
    async with app.running():
        await publish(app, world, 0, 1, 2)
        await eventually(lambda: world.committed(world.orders) >= 3)
        assert await app.consumer.seek(world.orders, 0, 1) == 1
        await eventually(lambda: seen == [0, 1, 2, 1, 2])
        assert await app.consumer.seek(world.orders, 0, "beginning") == 0
        await eventually(lambda: len(seen) == 8)
        third = world.records(world.orders)[2].timestamp_ms
        moment = datetime.fromtimestamp(third / 1000, UTC)
        found = await app.consumer.seek(world.Ordered, 0, moment)
        assert found <= 2
        await eventually(lambda: len(seen) == 8 + 3 - found)
        await app.consumer.seek(world.Ordered, 0, datetime.now(UTC) + timedelta(hours=1))
        app.consumer.pause(world.orders)
        runner = app._runner
        assert runner is not None
        await eventually(lambda: runner._workers[world.orders, 0].paused)
        so_far = len(seen)
        await publish(app, world, 3, 4)
        await app.consumer.seek(world.orders, 0, "end")
        app.consumer.resume(world.orders)
        await publish(app, world, 5)
        await eventually(lambda: len(seen) == so_far + 1)
        assert seen[so_far:] == [5]
        await eventually(lambda: world.committed(world.orders) >= 6)
        with pytest.raises(KafkaError, match=r"\[7\] is not assigned to this member, which has"):
            await app.consumer.seek(world.orders, 7, 0)
    with pytest.raises(KafkaError, match="does not run"):
        await app.consumer.seek(world.orders, 0, 0)


async def test_a_seek_waits_for_the_record_in_hand_and_hands_over_none_of_those_behind_it(world: World) -> None:
    app, seen, gate, entered = service(world), list[int](), threading.Event(), threading.Event()

    @app.listen(world.Ordered)
    def note(order: Any) -> None:
        if order.quantity == 1 and not gate.is_set():
            entered.set()
            assert gate.wait(30)
        seen.append(order.quantity)

    async with app.running():
        await publish(app, world, 0, 1, 2, 3)
        await eventually(entered.is_set)
        moving = asyncio.create_task(app.consumer.seek(world.orders, 0, 3))
        await asyncio.sleep(0.05)
        assert not moving.done()
        gate.set()
        assert await moving == 3
        await eventually(lambda: world.committed(world.orders) == 4)
    assert seen == [0, 1, 3]


async def test_a_seek_where_keys_wait_in_retry_topics_loses_none_of_them_and_keeps_their_order(world: World) -> None:
    app, called, done, allowed = service(world), list[int](), list[int](), threading.Event()

    @app.listen(world.Ordered, retry=Retry(attempts=1, topics=RetryTopics([0.3] * 50, keep_key_order=True)))
    def note(order: Any) -> None:
        called.append(order.quantity)
        if order.quantity == 1 and not allowed.is_set():
            raise TimeoutError
        done.append(order.quantity)

    async with app.running():
        await publish(app, world, 0, 1, 2)
        await eventually(lambda: world.committed(world.orders) == 3, what="the parking")
        await app.consumer.seek(world.orders, 0, 0)
        await eventually(lambda: done == [0, 0], what="the first one again")
        so_far = called.count(1)
        await eventually(lambda: called.count(1) > so_far, what="another attempt")
        allowed.set()
        await eventually(lambda: len(done) == 4, what="the others")
    assert done == [0, 0, 1, 2]


async def test_hooks_are_told_of_partitions_before_their_first_and_after_their_last_record(world: World) -> None:
    world.partitions = 2
    told: list[str] = []
    app = service(world)

    @app.listen(world.Ordered)
    def note(order: Any) -> None:
        told.append("record")

    @app.on_assigned
    async def come(partitions: list[tuple[str, int]]) -> None:
        await asyncio.sleep(0)
        told.append(f"assigned {sorted(number for _, number in partitions)}")

    @app.on_assigned
    def broken(partitions: list[tuple[str, int]]) -> None:
        raise RuntimeError("a hook that fails stops nobody")

    @app.on_revoked
    def go(partitions: list[tuple[str, int]]) -> None:
        left = sum(world.committed(world.orders, number) for _, number in partitions)
        told.append(f"revoked {sorted(number for _, number in partitions)}, {left} committed")

    async with app.running():
        await app.publish(world.Ordered("a"))
        await eventually(lambda: "record" in told)
    assert told == ["assigned [0, 1]", "record", "revoked [0, 1], 1 committed"]


@pytest.mark.parametrize("protocol", ["classic", "consumer"] if LONG else ["classic"])
async def test_a_static_member_that_comes_back_in_time_has_its_partitions_and_disturbs_nobody(
    world: World, protocol: str
) -> None:
    world.partitions = 4
    moved: list[str] = []

    def member(name: str) -> App:
        more: dict[str, Any] = {"group.protocol": protocol} if protocol == "consumer" else {}
        app = App(world.group, settings=with_limits(world, more, instance_id=name, session_timeout_s=30.0))

        @app.listen(world.Ordered)
        def note(order: Any) -> None: ...

        @app.on_assigned
        def come(partitions: list[tuple[str, int]]) -> None:
            moved.append(f"{name} has {len(partitions)}")

        return app

    def has(app: App, count: int) -> bool:
        return app._runner is not None and len(app._runner.positions()) == count

    first = member("first")
    async with first.running():
        await eventually(lambda: has(first, 4))
        second = member("second")
        async with second.running():
            await eventually(lambda: has(first, 2) and has(second, 2))
            before = len(moved)
        again = member("second")
        async with again.running():
            await eventually(lambda: has(again, 2))
            assert has(first, 2)
    assert moved[before:] == ["second has 2"]


@pytest.mark.parametrize("assignor", ["range", "cooperative-sticky", "consumer"] if LONG else ["consumer"])
async def test_members_share_partitions_with_each_assignor_and_take_retry_topics_along(
    world: World, assignor: str
) -> None:
    world.partitions = 4
    seen: Counter[str] = Counter()
    more: dict[str, Any] = {"partition.assignment.strategy": assignor}
    if assignor == "consumer":
        more = {"group.protocol": "consumer"}

    def member() -> App:
        app = App(world.group, settings=with_limits(world, more))

        @app.listen(world.Ordered, retry=Retry(attempts=1, topics=RetryTopics([0.2], keep_key_order=True)), name="note")
        def note(order: Any) -> None:
            seen[order.order_id] += 1
            if seen[order.order_id] == 1:
                raise TimeoutError

        return app

    def places(app: App) -> set[tuple[str, int]]:
        return set(app._runner.positions()) if app._runner else set()

    first, second = member(), member()
    async with first.running():
        await asyncio.gather(*(first.publish(world.Ordered(f"a-{n}")) for n in range(40)))
        async with second.running():
            await eventually(lambda: len(places(first)) == len(places(second)) == 6)
            for one in (first, second):
                mine = places(one)
                assert {n for topic, n in mine if topic == world.orders} == {n for t, n in mine if t != world.orders}
            await asyncio.gather(*(first.publish(world.Ordered(f"b-{n}")) for n in range(40)))
        await eventually(lambda: len(seen) == 80 and min(seen.values()) >= 2)
        await eventually(lambda: sum(world.committed(f"{world.orders}-retry-1", n) for n in range(4)) == 80)


@SOME_KINDS
async def test_a_handler_slower_than_the_poll_interval_keeps_its_partition(world: World, kind: str) -> None:
    moved, seen = list[str](), list[int]()
    limits: dict[str, Any] = {"max_poll_interval_s": 6.0, "session_timeout_s": 6.0, "stuck_after_s": 60.0}
    app, gate = App(world.group, settings=with_limits(world, **limits)), threading.Event()

    def slow(order: Any) -> None:
        gate.wait(6.8)
        seen.append(order.quantity)

    async def slow_async(order: Any) -> None:
        await asyncio.to_thread(slow, order)

    app.listen(world.Ordered, name="slow")(slow if kind == "sync" else slow_async)
    app.on_revoked(lambda partitions: moved.append("revoked"))
    async with app.running():
        await publish(app, world, 0, 1)
        await eventually(lambda: seen == [0])
        gate.set()
        await eventually(lambda: world.committed(world.orders) == 2)
        assert moved == []
    assert seen == [0, 1]


async def test_what_is_in_hand_longer_than_the_drain_deadline_is_given_up_uncommitted(world: World) -> None:
    app, entered = App(world.group, settings=with_limits(world, drain_timeout_s=0.3)), threading.Event()

    @app.listen(world.Ordered, name="stuck")
    async def stuck(order: Any) -> None:
        if order.quantity == 1:
            entered.set()
            await asyncio.sleep(60)

    async with app.running():
        await publish(app, world, 0, 1, 2)
        await eventually(entered.is_set)
        started = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - started < 10
    assert world.committed(world.orders) == 1


async def test_a_revoked_partition_whose_handler_outlasts_the_drain_deadline_is_handled_by_its_next_owner(
    world: World,
) -> None:
    world.partitions = 2
    settings = with_limits(world, drain_timeout_s=0.3)
    first, second = App(world.group, settings=settings), App(world.group, settings=settings)
    gate, entered, finished, seen = asyncio.Event(), set[int](), set[int](), list[int]()

    @first.listen(world.Ordered)
    async def slow(order: Any, ctx: Context) -> None:
        entered.add(ctx.partition)
        await gate.wait()
        finished.add(ctx.partition)

    @second.listen(world.Ordered)
    async def note(order: Any, ctx: Context) -> None:
        seen.append(ctx.partition)

    async with first.running():
        for n in range(40):
            await first.publish(world.Ordered(f"o-{n}"))
        await eventually(lambda: entered == {0, 1}, what="both partitions are held up")
        async with second.running():
            ends = Counter(record.partition for record in world.records(world.orders))
            await eventually(lambda: seen and len(seen) == ends[seen[0]], what="the next owner handles all of its own")
            mine, others = seen[0], 1 - seen[0]
            await eventually(lambda: world.committed(world.orders, mine) == ends[mine], what="and commits it")
            assert world.committed(world.orders, others) == 0
            gate.set()
            await eventually(lambda: world.committed(world.orders, others) == ends[others], what="the rest")
            assert world.committed(world.orders, mine) == ends[mine]
            assert set(seen) == {mine}
            assert finished == {others}, "what was given up was told so, and did not go on"
