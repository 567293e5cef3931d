"""What a running App promises, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
import struct
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import confluent_kafka
import msgspec
import pytest

from ottla import App, Context, PublishError, Retry, derived_event_id, event_type, fixed
from ottla.events import read_envelope
from ottla.testing import Broker, EmbeddedRegistry
from tests.listeners.harness import World, eventually, headers_of


@pytest.fixture(scope="session")
def listener_registries() -> Iterator[dict[str, EmbeddedRegistry]]:
    started: dict[str, EmbeddedRegistry] = {}
    yield started
    for registry in started.values():
        registry.close()


@pytest.fixture
def world(broker: Broker, listener_registries: dict[str, EmbeddedRegistry]) -> World:
    registry = listener_registries.get(broker.bootstrap_servers)
    if registry is None:
        registry = listener_registries[broker.bootstrap_servers] = EmbeddedRegistry(broker.bootstrap_servers)
        registry.start()
    return World(broker, registry)


def _app(world: World, **more: Any) -> App:
    return App(world.group, settings=world.settings, **more)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_what_a_handler_returns_is_published_with_its_cause_in_the_envelope(world: World, kind: str) -> None:
    app = _app(world)
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
    app = _app(world)

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


async def test_records_of_a_partition_are_handled_in_order_and_committed(world: World) -> None:
    app = _app(world)
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
        app = _app(world)

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
    app = _app(world)
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
    app = _app(world)
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


async def test_a_record_whose_attempts_are_used_up_becomes_a_dead_letter(world: World) -> None:
    app = _app(world)

    @app.listen(world.Ordered, retry=Retry(attempts=2, backoff=fixed(0.01)))
    def refuse(order: Any) -> None:
        if order.order_id == "bad":
            raise ValueError("no such article") from KeyError("sku-7")

    async with app.running():
        await app.publish(world.Ordered("bad"), event_id="e-bad")
        await app.publish(world.Ordered("good"))
        await eventually(lambda: world.committed(world.orders) == 2)
        (letter,) = world.dead_letters(world.orders)
    (original, _) = world.records(world.orders)
    headers = headers_of(letter)
    assert (letter.key, letter.value, letter.partition) == (original.key, original.value, original.partition)
    assert headers["ce_id"] == b"e-bad"
    assert headers["kafka_dlt-original-topic"] == world.orders.encode()
    assert struct.unpack(">i", headers["kafka_dlt-original-partition"]) == (0,)
    assert struct.unpack(">q", headers["kafka_dlt-original-offset"]) == (0,)
    assert struct.unpack(">q", headers["kafka_dlt-original-timestamp"]) == (original.timestamp_ms,)
    assert headers["kafka_dlt-original-timestamp-type"] == b"CreateTime"
    assert headers["kafka_dlt-original-consumer-group"] == world.group.encode()
    assert headers["kafka_dlt-exception-fqcn"] == b"builtins.ValueError"
    assert headers["kafka_dlt-exception-cause-fqcn"] == b"builtins.KeyError"
    assert headers["kafka_dlt-exception-message"] == b"no such article"
    assert b"in refuse" in headers["kafka_dlt-exception-stacktrace"]
    assert headers["ottla-attempts"] == b"2"
    assert headers["ottla-handler"] == b"refuse"
    assert headers["ottla-service"] == world.group.encode()
    assert headers["ottla-event-id"] == b"e-bad"
    assert "ottla_records_dead_lettered_total" in app.metrics.page().decode()


async def test_undecodable_bytes_are_dead_lettered_and_the_service_goes_on(world: World) -> None:
    app = _app(world)
    seen: list[str] = []

    @app.listen(world.Ordered)
    def note(order: Any) -> None:
        seen.append(order.order_id)

    poison = [b"", b"\x01", b"not avro at all", b"\x00\x00\x00\x00", b"\x00\x7f\xff\xff\xff\x02a", b"\xff" * 40]
    async with app.running():
        first = await app.publish(world.Ordered("before"))
        world.write(world.orders, *poison)
        (record,) = world.records(world.orders)[:1]
        assert record.value is not None
        world.write(world.orders, record.value[:-1], record.value + b"\x00")
        await app.publish(world.Ordered("after"))
        await eventually(lambda: world.committed(world.orders) == len(poison) + 4)
        letters = world.dead_letters(world.orders)
    assert first.offset == 0
    assert seen == ["before", "after"]
    assert [letter.value for letter in letters] == [*poison, record.value[:-1], record.value + b"\x00"]
    for letter in letters:
        assert headers_of(letter)["kafka_dlt-exception-fqcn"] == b"ottla.errors.DecodeError"
        assert (
            f"topic {world.orders}, partition 0, offset".encode() in headers_of(letter)["kafka_dlt-exception-message"]
        )


async def test_an_unknown_event_type_is_dead_lettered_and_a_known_one_passed_over(world: World) -> None:
    publisher = App(f"{world.group}-publisher", settings=world.settings, events=[world.Ordered, world.Cancelled])
    strict = _app(world)

    @strict.listen(world.Ordered)
    def note(order: Any) -> None: ...

    async with publisher.running(), strict.running():
        await publisher.publish(world.Cancelled("o-1"))
        await publisher.publish(world.Ordered("o-1"))
        await eventually(lambda: world.committed(world.orders) == 2)
        (letter,) = world.dead_letters(world.orders)
    assert headers_of(letter)["kafka_dlt-exception-fqcn"] == b"ottla.errors.UnknownEventType"

    world.group = f"{world.group}-lenient"
    lenient = _app(world, events=[world.Cancelled])
    lenient.listen(world.Ordered)(note)
    async with lenient.running():
        await eventually(lambda: world.committed(world.orders) == 2)
        assert len(world.dead_letters(world.orders)) == 1
    assert "ottla_records_skipped_total" in lenient.metrics.page().decode()


async def test_an_event_that_does_not_fit_its_schema_dead_letters_its_cause_with_nothing_published(
    world: World,
) -> None:
    app = _app(world)

    @app.listen(world.Ordered)
    def misuse(order: Any) -> list[Any]:
        return [world.Reserved(order.order_id), world.Reserved(12345)]

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: world.committed(world.orders) == 1)
        (letter,) = world.dead_letters(world.orders)
        assert world.records(world.stock) == []
    assert headers_of(letter)["kafka_dlt-exception-fqcn"] == b"ottla.errors.EncodeError"


async def test_a_redelivered_record_republishes_the_same_event_ids(world: World) -> None:
    app = _app(world)
    calls = 0

    @app.listen(world.Ordered)
    def reserve(order: Any) -> Any:
        return world.Reserved(order.order_id)

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: world.records(world.stock))
    world.admin.reset(world.group, {(world.orders, 0): 0})
    again = _app(world)

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
    app = _app(world)
    failed = threading.Event()

    @app.listen(world.Ordered, retry=Retry(attempts=2, backoff=fixed(60)), name="handler")
    def fail(order: Any) -> None:
        failed.set()
        raise TimeoutError

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(failed.is_set)
    assert world.committed(world.orders) == 0
    again = _app(world)
    seen: list[str] = []

    @again.listen(world.Ordered, name="handler")
    def note(order: Any) -> None:
        seen.append(order.order_id)

    async with again.running():
        await eventually(lambda: seen == ["o-1"])
    assert world.dead_letters(world.orders) == []


async def test_members_of_a_group_share_partitions_and_nothing_is_lost_while_they_come_and_go(world: World) -> None:
    world.partitions = 4
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def member() -> App:
        app = _app(world)

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


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_batch_handler_takes_what_has_arrived_and_answers_for_each(world: World, kind: str) -> None:
    app = _app(world)
    sizes: list[int] = []

    def answer(orders: list[Any], contexts: list[Context]) -> list[Any]:
        sizes.append(len(orders))
        assert [ctx.offset for ctx in contexts] == list(range(contexts[0].offset, contexts[0].offset + len(orders)))
        return [None if order.quantity == 0 else world.Reserved(order.order_id) for order in orders]

    if kind == "sync":
        app.listen(world.Ordered, batch=50, name="answer")(answer)
    else:

        @app.listen(world.Ordered, batch=50, name="answer")
        async def answer_async(orders: list[Any], contexts: list[Context]) -> list[Any]:
            return answer(orders, contexts)

    publisher = App(f"{world.group}-publisher", settings=world.settings, events=[world.Ordered])
    async with publisher.running():
        await asyncio.gather(*(publisher.publish(world.Ordered(f"o-{n}", n % 2)) for n in range(200)))
    async with app.running():
        await eventually(lambda: world.committed(world.orders) == 200)
        records = world.records(world.stock)
    assert sum(sizes) == 200
    assert max(sizes) == 50
    assert len(records) == 100
    causes = {read_envelope(record.headers).causation_id for record in records}  # type: ignore[union-attr]
    odd = [record for record in world.records(world.orders) if int(record.key[2:]) % 2]  # type: ignore[index]
    assert causes == {headers_of(record)["ce_id"].decode() for record in odd}


async def test_one_bad_record_of_a_batch_is_retried_and_dead_lettered_alone(world: World) -> None:
    app = _app(world)
    alone: list[str] = []
    handled: Counter[str] = Counter()

    @app.listen(world.Ordered, batch=20, retry=Retry(attempts=2, backoff=fixed(0.01)))
    def fragile(orders: list[Any]) -> None:
        if len(orders) == 1:
            alone.append(orders[0].order_id)
        if any(order.order_id == "o-7" for order in orders):
            raise ValueError("seven")
        handled.update(order.order_id for order in orders)

    publisher = App(f"{world.group}-publisher", settings=world.settings, events=[world.Ordered])
    async with publisher.running():
        for n in range(20):
            await publisher.publish(world.Ordered(f"o-{n}"))
    async with app.running():
        await eventually(lambda: world.committed(world.orders) == 20)
        (letter,) = world.dead_letters(world.orders)
    assert handled == {f"o-{n}": 1 for n in range(20) if n != 7}
    assert alone.count("o-7") == 2
    assert headers_of(letter)["ottla-attempts"] == b"2"
    assert headers_of(letter)["kafka_dlt-exception-message"] == b"seven"


async def test_a_batch_handler_that_does_not_answer_for_each_event_is_told_so(world: World) -> None:
    app = _app(world)

    @app.listen(world.Ordered, batch=10, retry=Retry(attempts=1))
    def wrong(orders: list[Any]) -> list[Any]:
        return []

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: world.committed(world.orders) == 1)
        (letter,) = world.dead_letters(world.orders)
    assert b"must return None, or a list with one entry per event" in headers_of(letter)["kafka_dlt-exception-message"]


async def test_a_handler_that_meets_the_cancellation_of_something_else_is_tried_again(world: World) -> None:
    app = _app(world)
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


@pytest.mark.parametrize("raised", [SystemExit, StopIteration])
@pytest.mark.parametrize("beside", ["sync", "async"])
async def test_a_plain_handler_that_raises_what_ends_threads_is_dead_lettered(
    world: World, raised: type[BaseException], beside: str
) -> None:
    app = _app(world)

    @app.listen(world.Ordered, retry=Retry(attempts=1))
    def leave(order: Any) -> None:
        raise raised(3)

    if beside == "async":

        @app.listen(world.Cancelled)
        async def other(cancelled: Any) -> None: ...
    else:

        @app.listen(world.Cancelled)
        def other_plain(cancelled: Any) -> None: ...

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: world.committed(world.orders) == 1, within_s=10)
        (letter,) = world.dead_letters(world.orders)
        assert app.health.dead() == []
    assert headers_of(letter)["kafka_dlt-exception-cause-fqcn"] == b"builtins." + raised.__name__.encode()


async def test_a_bad_record_whose_timestamp_is_no_date_is_dead_lettered(world: World) -> None:
    anything_goes = {"message.timestamp.after.max.ms": str(2**63 - 1)}
    world.admin.ensure_topics({world.orders: 1, f"{world.orders}-dlq": 1}, config=anything_goes)
    app = _app(world)

    @app.listen(world.Ordered)
    def note(order: Any) -> None: ...

    microseconds = 1_700_000_000_000_000
    async with app.running():
        raw = confluent_kafka.Producer({"bootstrap.servers": world.broker.bootstrap_servers})
        raw.produce(world.orders, b"poison", timestamp=microseconds, partition=0)
        raw.flush(10)
        await eventually(lambda: world.committed(world.orders) == 1, within_s=10)
        (letter,) = world.dead_letters(world.orders)
    assert struct.unpack(">q", headers_of(letter)["kafka_dlt-original-timestamp"]) == (microseconds,)


class _Unspeakable(Exception):
    def __str__(self) -> str:
        raise KeyError("not even its message")


@pytest.mark.parametrize("error", [_Unspeakable(), ValueError("x" * 3_000_000)], ids=["unprintable", "endless"])
async def test_no_exception_keeps_its_record_from_becoming_a_dead_letter(world: World, error: Exception) -> None:
    app = _app(world)

    @app.listen(world.Ordered, retry=Retry(attempts=1))
    def refuse(order: Any) -> None:
        raise error

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: world.committed(world.orders) == 1, within_s=10)
        assert len(world.dead_letters(world.orders)) == 1


async def test_a_dead_letter_topic_with_fewer_partitions_takes_the_record_anywhere_at_once(world: World) -> None:
    world.partitions = 3
    world.admin.ensure_topics({f"{world.orders}-dlq": 1, world.orders: 3})
    app = _app(world)
    raised: list[str] = []
    raise_condition = app.health.raise_condition
    app.health.raise_condition = lambda name, reason: (raised.append(name), raise_condition(name, reason))[1]  # type: ignore[method-assign, func-returns-value]

    @app.listen(world.Ordered, retry=Retry(attempts=1))
    def refuse(order: Any) -> None:
        raise ValueError

    async with app.running():
        for n in range(20):
            await app.publish(world.Ordered(f"o-{n}"))
        await eventually(lambda: len(world.dead_letters(world.orders)) == 20, within_s=10)
    assert {letter.partition for letter in world.dead_letters(world.orders)} == {0}
    assert not [name for name in raised if name.startswith("dead letters")]


async def test_a_batch_that_failed_is_not_gone_through_any_further_once_a_stop_is_asked_for(world: World) -> None:
    app = _app(world)
    alone: list[int] = []
    second = threading.Event()

    @app.listen(world.Ordered, batch=50)
    def slow(orders: list[Any], contexts: list[Context]) -> None:
        if len(orders) > 1:
            raise ValueError("one at a time, please")
        alone.append(contexts[0].offset)
        if len(alone) == 2:
            second.set()
        time.sleep(0.3)

    publisher = App(f"{world.group}-publisher", settings=world.settings, events=[world.Ordered])
    async with publisher.running():
        for n in range(50):
            await publisher.publish(world.Ordered(f"o-{n}"))
    async with app.running():
        await eventually(second.is_set)
    assert len(alone) < 10
    assert world.committed(world.orders) == len(alone)


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
        app = _app(world)

        @app.listen(world.Ordered)
        def note(order: Any) -> None:
            seen.append(order.order_id)

        return app

    def broken() -> None:
        raise RuntimeError("a fault of the machinery")

    first, second = member(), member()
    async with first.running():
        await eventually(lambda: first._runner and first._runner._workers)
        first._runner._steer_flow = broken  # type: ignore[union-attr, method-assign]
        await eventually(first.health.dead)
        async with second.running():
            await second.publish(world.Ordered("o-1"))
            await eventually(lambda: seen == ["o-1"], within_s=20)


async def test_a_bad_record_almost_as_large_as_the_broker_takes_becomes_a_dead_letter(world: World) -> None:
    app = _app(world)

    @app.listen(world.Ordered)
    def note(order: Any) -> None: ...

    async with app.running():
        await eventually(lambda: f"{world.orders}-dlq" in world.admin.topics())
        world.write(world.orders, b"x" * 1_030_000)
        await eventually(lambda: world.committed(world.orders) == 1, within_s=10)
        (letter,) = world.dead_letters(world.orders)
    assert len(letter.value or b"") == 1_030_000


async def test_an_app_that_runs_again_reports_its_lag_once_and_not_what_killed_the_run_before(world: World) -> None:
    app = _app(world)

    @app.listen(world.Ordered)
    def note(order: Any) -> None: ...

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: app._runner and app._runner.positions())
        assert app.metrics.page().count(b"# TYPE ottla_consumer_lag") == 1
        app._runner.died = "a fault of the machinery"  # type: ignore[union-attr]
        assert app.health.dead() == ["a fault of the machinery"]
    async with app.running():
        assert app.health.dead() == []
        assert app.metrics.page().count(b"# TYPE ottla_consumer_lag") == 1
