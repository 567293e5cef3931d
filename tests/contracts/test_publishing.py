"""Publishing outside of handlers, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec
import pytest

from ottla import App, EncodeError, PublishError
from ottla.events import read_envelope
from ottla.kafka.producer import Producer
from ottla.kafka.record import Record
from tests.contracts.clients import create_topic
from tests.listeners.harness import World, eventually, service

TOO_LARGE = "x" * 3_000_000


def ids(records: list[Record]) -> list[str]:
    return [envelope.id for one in records if (envelope := read_envelope(one.headers)) is not None]


async def test_many_events_are_acknowledged_together_and_keep_their_order(world: World) -> None:
    app = service(world)
    async with app.running():
        where = await app.publish_many([world.Ordered("o-1", n) for n in range(500)], correlation_id="c-1")
    assert [one.offset for one in where] == list(range(500))
    records = world.records(world.orders)
    assert len(records) == 500
    assert {envelope.correlation_id for one in records if (envelope := read_envelope(one.headers))} == {"c-1"}


async def test_no_events_are_published_at_once(world: World) -> None:
    app = service(world)
    async with app.running():
        assert await app.publish_many([]) == []


async def test_where_one_of_many_does_not_fit_its_schema_nothing_is_sent(world: World) -> None:
    app = service(world)
    async with app.running():
        with pytest.raises(EncodeError):
            await app.publish_many([world.Ordered("o-1"), world.Ordered("o-2", quantity="many")])
        await app.publish(world.Ordered("o-3"), event_id="e-3")
    assert ids(world.records(world.orders)) == ["e-3"]


async def test_of_many_events_the_refused_ones_are_told(world: World) -> None:
    app = service(world)
    async with app.running():
        with pytest.raises(PublishError, match="1 of 2 events were refused"):
            await app.publish_many([world.Reserved("o-1"), world.Reserved("o-2", by=TOO_LARGE)])


async def test_what_is_sent_arrives_without_waiting_and_a_stop_waits_for_it(world: World) -> None:
    app = service(world)
    async with app.running():
        for n in range(300):
            await app.send(world.Ordered("o-1", n))
    assert len(world.records(world.orders)) == 300


async def test_whoever_sends_without_end_leaves_others_their_turns_on_the_event_loop(world: World) -> None:
    app, turns = service(world), 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with app.running():
        await app.publish(world.Ordered("o-1"), event_id="e-0")
        beside = asyncio.create_task(other())
        for n in range(1, 2001):
            await app.send(world.Ordered("o-1"), event_id=f"e-{n}")
        beside.cancel()
    assert turns >= 3
    assert ids(world.records(world.orders)) == [f"e-{n}" for n in range(2001)]


async def test_a_refused_send_is_told_by_callback_and_metric(world: World) -> None:
    app, told, happened = service(world), list[tuple[Any, PublishError]](), threading.Event()

    def note(event: Any, error: PublishError) -> None:
        told.append((event, error))
        happened.set()

    async with app.running():
        event = world.Reserved("o-1", by=TOO_LARGE)
        await app.send(event, on_error=note)
        assert await asyncio.to_thread(happened.wait, 30)
    assert told[0][0] is event
    assert world.stock in str(told[0][1])
    page = app.metrics.page().decode()
    assert f'ottla_publish_failures_total{{service="{world.group}",topic="{world.stock}"}} 1.0' in page


async def test_a_tombstone_is_a_record_without_value(world: World) -> None:
    app = service(world)
    async with app.running():
        await app.publish(world.Ordered("o-1"))
        where = await app.publish_tombstone(world.Ordered, "o-1")
    last = world.records(world.orders)[-1]
    assert (last.key, last.value, last.offset) == (b"o-1", None, where.offset)


async def test_a_transaction_is_seen_as_a_whole(world: World) -> None:
    app = service(world)
    async with app.running():
        async with app.transaction() as transaction:
            await transaction.publish(world.Ordered("o-1"), event_id="e-1")
            await transaction.publish(world.Reserved("o-1"), event_id="e-2")
            assert world.records(world.orders) == []
        assert ids(world.records(world.orders)) == ["e-1"]
        assert ids(world.records(world.stock)) == ["e-2"]


async def test_a_transaction_that_fails_leaves_nothing(world: World) -> None:
    app = service(world)
    async with app.running():

        async def fail() -> None:
            async with app.transaction() as transaction:
                await transaction.publish(world.Ordered("o-1"), event_id="e-1")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        async with app.transaction() as transaction:
            await transaction.publish(world.Ordered("o-1"), event_id="e-2")
    assert ids(world.records(world.orders)) == ["e-2"]


async def test_a_cancelled_transaction_leaves_nothing_and_the_next_one_works(world: World) -> None:
    app, written = service(world), asyncio.Event()

    async def write() -> None:
        async with app.transaction() as transaction:
            await transaction.publish(world.Ordered("o-1"), event_id="e-1")
            written.set()
            await asyncio.sleep(60)

    async with app.running():
        task = asyncio.create_task(write())
        await written.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with app.transaction() as transaction:
            await transaction.publish(world.Ordered("o-1"), event_id="e-2")
    assert ids(world.records(world.orders)) == ["e-2"]


async def test_transactions_of_one_app_wait_for_each_other(world: World) -> None:
    app = service(world)

    async def write(n: int) -> None:
        async with app.transaction() as transaction:
            await transaction.publish(world.Ordered("o-1", n), event_id=f"a-{n}")
            await transaction.publish(world.Ordered("o-1", n), event_id=f"b-{n}")

    async with app.running():
        await asyncio.gather(*(write(n) for n in range(5)))
    found = ids(world.records(world.orders))
    assert sorted(found[::2]) == [f"a-{n}" for n in range(5)]
    assert [one.replace("a", "b") for one in found[::2]] == found[1::2]


async def test_a_full_buffer_holds_the_sender_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    app, room = service(world), threading.Event()
    take = Producer.try_send

    def take_where_there_is_room(self: Producer, *arguments: Any, **named: Any) -> bool:
        return room.is_set() and take(self, *arguments, **named)

    async with app.running():
        await app.publish(world.Ordered("o-0"), event_id="e-0")
        monkeypatch.setattr(Producer, "try_send", take_where_there_is_room)
        sending = asyncio.create_task(app.send(world.Ordered("o-1"), event_id="e-1"))
        done, _ = await asyncio.wait([sending], timeout=0.1)
        assert not done
        room.set()
        await sending
    assert ids(world.records(world.orders)) == ["e-0", "e-1"]


async def test_a_buffer_of_a_few_records_never_holds_more_and_loses_none(world: World) -> None:
    """The client library's own buffer, and a broker that takes its time."""
    faults = world.broker.faults
    changed = msgspec.structs.replace
    properties = {**world.settings.kafka.properties, "queue.buffering.max.messages": 50}
    kafka = changed(world.settings.kafka, bootstrap_servers=faults.bootstrap_servers, properties=properties)
    app, most = App(world.group, settings=changed(world.settings, kafka=kafka)), 0
    async with app.running():
        await app.publish(world.Ordered("o-0"))
        with faults.delay("Produce", 0.05):
            for n in range(1, 500):
                await app.send(world.Ordered("o-1", n))
                most = max(most, app.unacknowledged)
    assert most == 50
    assert len(world.records(world.orders)) == 500


MURMUR2 = {
    # Apache Kafka's own hash of these keys, with the sign bit off, as its DefaultPartitioner takes it.
    b"21": -973932308 & 0x7FFFFFFF,
    b"foobar": -790332482 & 0x7FFFFFFF,
    b"a-little-bit-long-string": -985981536 & 0x7FFFFFFF,
    b"a-little-bit-longer-string": -1486304829 & 0x7FFFFFFF,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971 & 0x7FFFFFFF,
    b"abc": 479470107,
}


async def test_keys_go_to_the_partitions_that_java_takes(world: World) -> None:
    create_topic(world.broker, world.orders, partitions=7)
    app = service(world)
    async with app.running():
        for key, number in MURMUR2.items():
            where = await app.publish(world.Ordered(key.decode()))
            assert (key, where.partition) == (key, number % 7)
        async with app.transaction() as transaction:
            for key in MURMUR2:
                await transaction.publish(world.Ordered(key.decode()))
    found = [(one.key, one.partition) for one in world.records(world.orders)]
    assert sorted(found) == sorted(2 * [(key, number % 7) for key, number in MURMUR2.items()])


async def test_headers_and_another_topic_are_given_with_an_event(world: World) -> None:
    app, elsewhere = service(world), f"{world.orders}-elsewhere"
    async with app.running():
        first = await app.publish(world.Ordered("o-1"), headers=[("tenant", b"a")], topic=elsewhere)
        await app.send(world.Ordered("o-2"), headers=[("tenant", None)], topic=elsewhere)
        async with app.transaction() as transaction:
            await transaction.publish(world.Ordered("o-3"), topic=elsewhere)
        own = await app.publish(world.Ordered("o-4"))
    assert (first.topic, own.topic) == (elsewhere, world.orders)
    records = world.records(elsewhere)
    assert sorted(one.key or b"" for one in records) == [b"o-1", b"o-2", b"o-3"]
    assert dict(next(one for one in records if one.key == b"o-1").headers)["tenant"] == b"a"
    assert dict(next(one for one in records if one.key == b"o-2").headers)["tenant"] is None


async def test_a_record_whose_acknowledgement_was_lost_is_written_once(world: World) -> None:
    """Idempotent and acks=all, without being asked for."""
    faults = world.broker.faults
    kafka = msgspec.structs.replace(world.settings.kafka, bootstrap_servers=faults.bootstrap_servers)
    app = App(world.group, settings=msgspec.structs.replace(world.settings, kafka=kafka))
    async with app.running():
        await app.publish(world.Ordered("o-0"))
        lost = faults.drop("Produce", answer=True, times=2)
        await app.publish_many([world.Ordered("o-1", n) for n in range(100)])
        assert lost.hits == 2
    assert len(world.records(world.orders)) == 101


async def test_a_buffer_that_stays_full_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = msgspec.structs.replace(world.settings.kafka, publish_timeout_s=0.5)
    app = App(world.group, settings=msgspec.structs.replace(world.settings, kafka=kafka))
    async with app.running():
        await eventually(lambda: app.health.wrong() == [], what="readiness")
        monkeypatch.setattr(Producer, "try_send", lambda *_, **__: False)
        with pytest.raises(PublishError, match="was not sent"):
            await app.send(world.Ordered("o-1"))
