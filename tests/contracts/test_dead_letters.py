"""What becomes of records that cannot be handled, on both brokers."""

from __future__ import annotations

import struct
from typing import Any

import confluent_kafka
import msgspec
import pytest

from ottla import App, Retry, fixed
from tests.contracts.clients import create_topic, set_topic_config
from tests.listeners.harness import World, eventually, headers_of, service


async def test_a_record_whose_attempts_are_used_up_becomes_a_dead_letter(world: World) -> None:
    app = service(world)

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
    app = service(world)
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
    strict = service(world)

    @strict.listen(world.Ordered)
    def note(order: Any) -> None: ...

    async with publisher.running(), strict.running():
        await publisher.publish(world.Cancelled("o-1"))
        await publisher.publish(world.Ordered("o-1"))
        await eventually(lambda: world.committed(world.orders) == 2)
        (letter,) = world.dead_letters(world.orders)
    assert headers_of(letter)["kafka_dlt-exception-fqcn"] == b"ottla.errors.UnknownEventType"

    world.group = f"{world.group}-lenient"
    lenient = service(world, events=[world.Cancelled])
    lenient.listen(world.Ordered)(note)
    async with lenient.running():
        await eventually(lambda: world.committed(world.orders) == 2)
        assert len(world.dead_letters(world.orders)) == 1
    assert "ottla_records_skipped_total" in lenient.metrics.page().decode()


async def test_an_event_that_does_not_fit_its_schema_dead_letters_its_cause_with_nothing_published(
    world: World,
) -> None:
    app = service(world)

    @app.listen(world.Ordered)
    def misuse(order: Any) -> list[Any]:
        return [world.Reserved(order.order_id), world.Reserved(12345)]

    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: world.committed(world.orders) == 1)
        (letter,) = world.dead_letters(world.orders)
        assert world.records(world.stock) == []
    assert headers_of(letter)["kafka_dlt-exception-fqcn"] == b"ottla.errors.EncodeError"


@pytest.mark.parametrize("raised", [SystemExit, StopIteration])
@pytest.mark.parametrize("beside", ["sync", "async"])
async def test_a_plain_handler_that_raises_what_ends_threads_is_dead_lettered(
    world: World, raised: type[BaseException], beside: str
) -> None:
    app = service(world)

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
    app = service(world)

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
    app = service(world)

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
    app = service(world)
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


async def test_a_bad_record_almost_as_large_as_the_broker_takes_becomes_a_dead_letter(world: World) -> None:
    app = service(world)

    @app.listen(world.Ordered)
    def note(order: Any) -> None: ...

    async with app.running():
        await eventually(lambda: f"{world.orders}-dlq" in world.admin.topics())
        world.write(world.orders, b"x" * 1_030_000)
        await eventually(lambda: world.committed(world.orders) == 1, within_s=10)
        (letter,) = world.dead_letters(world.orders)
    assert len(letter.value or b"") == 1_030_000


async def test_while_dead_letters_are_refused_a_partition_has_only_so_many_records_in_hand(world: World) -> None:
    grave = f"{world.orders}-dlq"
    create_topic(world.broker, world.orders)
    create_topic(world.broker, grave, max_message_bytes="100")
    listener = msgspec.structs.replace(world.settings.listener, buffered_records_max=20, batch_records=10)
    app = App(world.group, settings=msgspec.structs.replace(world.settings, listener=listener))

    @app.listen(world.Ordered, retry=Retry(attempts=1))
    def refuse(order: Any) -> None:
        raise ValueError("bad order")

    publisher = App(f"{world.group}-publisher", settings=world.settings)
    async with publisher.running():
        await publisher.publish_many([world.Ordered(f"o-{number}") for number in range(300)])
    async with app.running():
        worker = await eventually(lambda: app._runner and app._runner._workers.get((world.orders, 0)))
        await eventually(lambda: worker.paused, what="the partition's rest")
        await eventually(lambda: any(f"{grave} does not take" in reason for reason in app.health.wrong()))
        assert world.committed(world.orders) <= 0, "what is not buried is not committed"
        # What came in one poll with the last that fitted is in hand as well.
        assert worker.tracker.unfinished <= 20 + 10
        set_topic_config(world.broker, grave, "max.message.bytes", "1000000")
        await eventually(lambda: world.committed(world.orders) == 300, within_s=60)
        await eventually(lambda: app.health.wrong() == [])
    letters = world.dead_letters(world.orders)
    assert sorted(letter.key for letter in letters) == sorted(b"o-%d" % number for number in range(300))
