"""What a running App promises, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from ottla import App, Context, PublishError, Retry, derived_event_id, event_type, fixed
from ottla.events import read_envelope
from tests.listeners.harness import World, eventually, headers_of, service


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_what_a_handler_returns_is_published_with_its_cause_in_the_envelope(world: World, kind: str) -> None:
    app = service(world)
    if kind == "sync":

        @app.listen(world.Ordered)
        def reserve(order: Any, ctx: Context) -> Any:
            return world.Reserved(order.order_id, by=ctx.service)
    else:

        @app.listen(world.Ordered)
        async def reserve(order: Any, ctx: Context) -> Any:
            return world.Reserved(order.order_id, by=ctx.service)

    async with app.running():
        sent = await app.publish(world.Ordered("o-1"), event_id="e-1", correlation_id="c-1")
        (record,) = await eventually(lambda: world.records(world.stock), what="the reservation")
    assert sent.offset == 0
    envelope = read_envelope(record.headers)
    assert envelope is not None
    assert envelope.causation_id == "e-1"
    assert envelope.correlation_id == "c-1"
    assert envelope.source == f"/{world.group}"
    assert envelope.id == derived_event_id("e-1", world.group, "reserve", event_type(world.Reserved).name, "0")
    assert record.key == b"o-1"


async def test_generators_and_lists_publish_every_event_in_order(world: World) -> None:
    app = service(world)

    @app.listen(world.Ordered)
    async def many(order: Any) -> AsyncIterator[Any]:
        yield world.Reserved(order.order_id, by="first")
        yield world.Reserved(order.order_id, by="second")

    @app.listen(world.Cancelled)
    def listed(cancelled: Any) -> list[Any]:
        return [world.Reserved(cancelled.order_id, by="third"), world.Reserved(cancelled.order_id, by="fourth")]

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await app.publish(world.Cancelled("o-1"))
        records = await eventually(lambda: len(found := world.records(world.stock)) == 4 and found)
    assert len({read_envelope(record.headers).id for record in records}) == 4  # type: ignore[union-attr]
    assert [record.value.split(b"\x06o-1")[1][1:] for record in records] == [b"first", b"second", b"third", b"fourth"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_of_what_a_handler_yields_before_it_fails_nothing_is_published(world: World, kind: str) -> None:
    app = service(world)
    attempts: list[int] = []
    retry = Retry(attempts=2, backoff=fixed(0.01))

    def given(order: Any, ctx: Context) -> Iterator[Any]:
        attempts.append(ctx.attempt)
        yield world.Reserved(order.order_id, by=f"first in attempt {ctx.attempt}")
        if ctx.attempt == 1:
            raise ValueError("after the first")
        yield world.Reserved(order.order_id, by="second")

    if kind == "sync":
        app.listen(world.Ordered, retry=retry)(given)
    else:

        @app.listen(world.Ordered, retry=retry)
        async def yielding(order: Any, ctx: Context) -> AsyncIterator[Any]:
            for one in given(order, ctx):
                yield one

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: world.committed(world.orders) == 1, what="the commit")
        records = world.records(world.stock)
    assert attempts == [1, 2]
    assert [record.value.split(b"o-1")[1][1:] for record in records] == [b"first in attempt 2", b"second"]


async def test_records_of_a_partition_are_handled_in_order_and_committed(world: World) -> None:
    app = service(world)
    seen: list[int] = []

    @app.listen(world.Ordered)
    def note(order: Any, ctx: Context) -> None:
        seen.append(ctx.offset)

    async with app.running():
        await asyncio.gather(*(app.publish(world.Ordered(f"o-{n}")) for n in range(500)))
        await eventually(lambda: world.committed(world.orders) == 500, what="the commit")
    assert seen == list(range(500))


async def test_a_restarted_service_goes_on_where_it_stopped(world: World) -> None:
    seen: Counter[str] = Counter()

    async def session(first: int) -> None:
        app = service(world)

        @app.listen(world.Ordered)
        def note(order: Any) -> None:
            seen[order.order_id] += 1

        async with app.running():
            for n in range(first, first + 10):
                await app.publish(world.Ordered(f"o-{n}"))
            await eventually(lambda: sum(seen.values()) >= first + 10)

    await session(0)
    await session(10)
    assert seen == {f"o-{n}": 1 for n in range(20)}


async def test_an_unfinished_record_is_never_committed(world: World) -> None:
    app = service(world)
    release = threading.Event()
    entered = threading.Event()

    @app.listen(world.Ordered)
    def block(order: Any) -> None:
        if order.order_id == "stuck":
            entered.set()
            release.wait(30)

    async with app.running():
        for name in ("a", "b", "stuck", "c"):
            await app.publish(world.Ordered(name))
        await eventually(entered.is_set)
        await eventually(lambda: world.committed(world.orders) == 2)
        for _ in range(5):  # Several commit intervals later it is still so.
            await asyncio.sleep(0.1)
            assert world.committed(world.orders) == 2
        release.set()
        await eventually(lambda: world.committed(world.orders) == 4)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_failing_handler_is_tried_again_and_later_records_wait(world: World, kind: str) -> None:
    app = service(world)
    calls: list[tuple[str, int]] = []

    def attempt(order: Any, ctx: Context) -> None:
        calls.append((order.order_id, ctx.attempt))
        if order.order_id == "flaky" and ctx.attempt < 3:
            raise TimeoutError("the other system is slow")

    if kind == "sync":
        app.listen(world.Ordered, retry=Retry(attempts=3, backoff=fixed(0.01)), name="attempt")(attempt)
    else:

        @app.listen(world.Ordered, retry=Retry(attempts=3, backoff=fixed(0.01)), name="attempt")
        async def attempt_async(order: Any, ctx: Context) -> None:
            attempt(order, ctx)

    async with app.running():
        for name in ("flaky", "next"):
            await app.publish(world.Ordered(name))
        await eventually(lambda: world.committed(world.orders) == 2)
    assert calls == [("flaky", 1), ("flaky", 2), ("flaky", 3), ("next", 1)]
    page = app.metrics.page().decode()
    assert f'ottla_records_failed_total{{handler="attempt",service="{world.group}",topic="{world.orders}"}} 2.0' in page
    assert (
        f'ottla_records_retried_total{{handler="attempt",service="{world.group}",topic="{world.orders}"}} 2.0' in page
    )
    assert (
        f'ottla_records_handled_total{{handler="attempt",service="{world.group}",topic="{world.orders}"}} 2.0' in page
    )


async def test_a_redelivered_record_republishes_the_same_event_ids(world: World) -> None:
    app = service(world)
    calls = 0

    @app.listen(world.Ordered)
    def reserve(order: Any) -> Any:
        return world.Reserved(order.order_id)

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: world.records(world.stock))
    world.admin.reset(world.group, {(world.orders, 0): 0})
    again = service(world)

    @again.listen(world.Ordered, name="reserve")
    def reserve_again(order: Any) -> Any:
        nonlocal calls
        calls += 1
        return world.Reserved(order.order_id)

    async with again.running():
        first, second = await eventually(lambda: len(found := world.records(world.stock)) == 2 and found)
    assert calls == 1
    assert headers_of(first)["ce_id"] == headers_of(second)["ce_id"]


async def test_a_record_waiting_for_its_retry_is_given_up_at_shutdown_and_delivered_again(world: World) -> None:
    app = service(world)
    failed = threading.Event()

    @app.listen(world.Ordered, retry=Retry(attempts=2, backoff=fixed(60)), name="handler")
    def fail(order: Any) -> None:
        failed.set()
        raise TimeoutError

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(failed.is_set)
    assert world.committed(world.orders) == 0
    again = service(world)
    seen: list[str] = []

    @again.listen(world.Ordered, name="handler")
    def note(order: Any) -> None:
        seen.append(order.order_id)

    async with again.running():
        await eventually(lambda: seen == ["o-1"])
    assert world.dead_letters(world.orders) == []


async def test_a_slow_handler_pauses_its_partition_and_memory_stays_bounded(world: World) -> None:
    limits = world.settings.listener.__class__(
        commit_interval_s=0.05, buffered_records_max=10, batch_records=5, session_timeout_s=6.0
    )
    settings = world.settings.__class__(kafka=world.settings.kafka, registry=world.settings.registry, listener=limits)
    app = App(world.group, settings=settings)
    gate = threading.Event()
    held: list[int] = []

    @app.listen(world.Ordered)
    def slow(order: Any) -> None:
        gate.wait(30)

    async with app.running():
        await asyncio.gather(*(app.publish(world.Ordered(f"o-{n}")) for n in range(200)))
        runner = app._runner
        assert runner is not None
        worker = await eventually(lambda: next(iter(runner._workers.values()), None))
        await eventually(lambda: worker.paused)
        for _ in range(10):
            held.append(worker.tracker.unfinished)
            await asyncio.sleep(0.02)
        gate.set()
        await eventually(lambda: world.committed(world.orders) == 200)
    assert max(held) < 10 + 5


async def test_publishing_before_kafka_is_there_says_what_it_waits_for(world: World) -> None:
    kafka = world.settings.kafka.__class__(bootstrap_servers="127.0.0.1:1", publish_timeout_s=0.5)
    app = App(world.group, settings=world.settings.__class__(kafka=kafka, registry=world.settings.registry))
    async with app.running():
        with pytest.raises(PublishError, match=r"cannot publish yet.*Nothing was sent"):
            await app.publish(world.Ordered("o-1"))
        assert any("waiting for the broker" in reason for reason in await eventually(app.health.wrong))


async def test_a_handler_that_meets_the_cancellation_of_something_else_is_tried_again(world: World) -> None:
    app = service(world)
    calls: list[tuple[str, int]] = []

    @app.listen(world.Ordered, retry=Retry(attempts=2, backoff=fixed(0.01)))
    async def wait_for_it(order: Any, ctx: Context) -> None:
        calls.append((order.order_id, ctx.attempt))
        if order.order_id == "cancelled":
            task = asyncio.create_task(asyncio.sleep(60))
            task.cancel()
            await task

    async with app.running():
        await app.publish(world.Ordered("cancelled"))
        await app.publish(world.Ordered("next"))
        await eventually(lambda: world.committed(world.orders) == 2)
        (letter,) = world.dead_letters(world.orders)
    assert calls == [("cancelled", 1), ("cancelled", 2), ("next", 1)]
    assert headers_of(letter)["kafka_dlt-exception-cause-fqcn"] == b"asyncio.exceptions.CancelledError"


async def test_an_app_that_runs_again_reports_its_lag_once_and_not_what_killed_the_run_before(world: World) -> None:
    app = service(world)

    @app.listen(world.Ordered)
    def note(order: Any) -> None: ...

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: app._runner and app._runner.positions())
        assert app.metrics.page().count(b"# TYPE ottla_consumer_lag gauge") == 1
        app._runner.died = "a fault of the machinery"  # type: ignore[union-attr]
        assert app.health.dead() == ["a fault of the machinery"]
    async with app.running():
        assert app.health.dead() == []
        assert app.metrics.page().count(b"# TYPE ottla_consumer_lag gauge") == 1


async def test_large_records_in_hand_are_bounded_by_their_bytes(world: World) -> None:
    size, most, count = 100_000, 1_000_000, 120
    limits = msgspec.structs.replace(world.settings.listener, buffered_bytes_max=most, batch_records=5)
    app, gate, seen = App(world.group, settings=msgspec.structs.replace(world.settings, listener=limits)), Gate(), []

    @app.listen(world.Ordered)
    def take(order: Any) -> None:
        gate.wait()
        seen.append(len(order.order_id))

    async with app.running():
        for _ in range(count // 20):
            await app.publish_many([world.Ordered("x" * size) for _ in range(20)])
        runner: Any = app._runner
        (worker,) = await eventually(lambda: [*runner._workers.values()], what="the assignment")
        await eventually(lambda: worker.paused, what="the pause")
        assert gate.asked == 1
        assert most // (size + 100) <= worker.tracker.in_hand <= most // size + limits.batch_records, (
            "as many as may be, and one more poll"
        )
        gate.open()
        await eventually(lambda: len(seen) == count, what="all of them")
    assert set(seen) == {size}


class Gate:
    """Holds handlers back until it is opened."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self.asked = 0

    def wait(self) -> None:
        self.asked += 1
        assert self._opened.wait(60)

    def open(self) -> None:
        self._opened.set()
