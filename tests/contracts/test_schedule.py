"""Events that are published later, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from ottla import App, EncodeError
from ottla.events import read_envelope
from ottla.kafka.record import Record
from ottla.kafka.transactions import TransactionalProducer
from tests.listeners.harness import World, eventually, headers_of, service

SOON = timedelta(seconds=0.5)


def ids(records: list[Record]) -> list[str]:
    return [envelope.id for one in records if (envelope := read_envelope(one.headers)) is not None]


async def published(world: World, count: int) -> list[Record]:
    await eventually(lambda: len(world.records(world.orders)) >= count, what=f"{count} events")
    return world.records(world.orders)


async def test_events_are_published_at_their_time_and_not_before_in_the_order_of_their_times(world: World) -> None:
    app = service(world)
    async with app.running():
        now = datetime.now(UTC)
        times = {f"e-{n}": now + timedelta(seconds=1 + 0.2 * ((n * 7) % 5)) for n in range(5)}
        for identity, at in times.items():
            await app.schedule(world.Ordered("o-1"), at=at, event_id=identity)
        await app.publish(world.Ordered("o-1"), event_id="now")
        records = await published(world, 6)
    assert ids(records) == ["now", *sorted(times, key=times.__getitem__)]
    for record in records[1:]:
        (identity,) = ids([record])
        assert record.timestamp_ms >= times[identity].timestamp() * 1000


async def test_a_scheduled_event_arrives_as_it_would_have_been_published(world: World) -> None:
    app = service(world)
    async with app.running():
        event = world.Ordered("o-1", 7)
        await app.publish(event, event_id="e-1", correlation_id="c", causation_id="b", headers=[("tenant", b"t")])
        await app.schedule(
            event, delay=timedelta(0), event_id="e-1", correlation_id="c", causation_id="b", headers=[("tenant", b"t")]
        )
        once, later = await published(world, 2)
    varying = {"ce_time"}
    assert (later.key, later.value) == (once.key, once.value)
    assert [one for one in later.headers if one[0] not in varying] == [
        one for one in once.headers if one[0] not in varying
    ]


async def test_what_was_scheduled_survives_a_restart_and_is_published_once(world: World) -> None:
    first = service(world)
    async with first.running():
        for n in range(20):
            await first.schedule(world.Ordered(f"o-{n}"), delay=SOON, event_id=f"e-{n}")
    await asyncio.sleep(0.6)  # the time of all of them passes while nobody is there
    for _ in range(2):  # neither again schedules anything
        async with service(world).running() as again:
            await eventually(lambda again=again: again.health.wrong() == [], what="readiness")  # type: ignore[misc]
            records = await published(world, 20)
    assert sorted(ids(records)) == sorted(f"e-{n}" for n in range(20))


async def test_a_cancelled_event_is_never_published(world: World) -> None:
    app = service(world)
    async with app.running():
        kept = await app.schedule(world.Ordered("o-1"), delay=2 * SOON, event_id="kept")
        gone = await app.schedule(world.Ordered("o-1"), delay=2 * SOON, event_id="gone")
        named = await app.schedule(world.Ordered("o-1"), delay=2 * SOON, event_id="named", id="reminder-1")
        assert (named, len({kept, gone, named})) == ("reminder-1", 3)
        await app.unschedule(gone)
        await app.unschedule("reminder-1")
        await published(world, 1)
    async with service(world).running():  # nor by the next one
        await app_is_idle(world)
    assert ids(world.records(world.orders)) == ["kept"]


async def app_is_idle(world: World) -> None:
    """Another event is scheduled and published: all that was due before has been."""
    async with App(world.group, settings=world.settings).running() as app:
        await app.schedule(world.Reserved("o-1"), delay=timedelta(0))
        await eventually(lambda: len(world.records(world.stock)) == 1, what="the other event")


async def test_instances_share_the_work_and_one_takes_over_what_another_leaves(world: World) -> None:
    world.partitions = 3
    one, two = service(world), service(world)
    async with one.running():
        async with two.running():
            for n in range(30):
                app = (one, two)[n % 2]
                await app.schedule(world.Ordered(f"o-{n}"), delay=timedelta(seconds=0.1 * (n % 20)), event_id=f"e-{n}")
        records = await published(world, 30)
    assert sorted(ids(records)) == sorted(f"e-{n}" for n in range(30))


async def test_whoever_had_a_partition_before_can_publish_no_more(world: World) -> None:
    app = service(world)
    async with app.running():
        await app.schedule(world.Ordered("o-1"), delay=timedelta(seconds=8), event_id="e-1")
        group = f"{world.group}-scheduled"
        # A zombie: it has written the event, long before that is due, and has not committed.
        zombie = TransactionalProducer(world.settings.kafka, f"{group}-0")
        zombie.begin()
        zombie.send(world.orders, b"zombie")
        zombie._producer.flush()
        records = await published(world, 1)
        zombie.close()
    assert ids(records) == ["e-1"]


async def test_an_event_that_does_not_fit_its_schema_is_refused_when_it_is_scheduled(world: World) -> None:
    app = service(world)
    async with app.running():
        with pytest.raises(EncodeError):
            await app.schedule(world.Ordered("o-1", quantity="many"), delay=SOON)


async def test_an_event_that_the_broker_refuses_is_told_and_holds_up_no_other(world: World) -> None:
    world.admin.create_topic(world.stock, 1, config={"max.message.bytes": "1000"})
    app = service(world)
    async with app.running():
        large = await app.schedule(world.Reserved("o-1", by="x" * 2000), delay=SOON)
        await app.schedule(world.Ordered("o-1"), delay=SOON, event_id="e-2")
        await published(world, 1)
        await eventually(lambda: f"{large} is not taken" in str(app.health.wrong()), what="the complaint")
        await app.unschedule(large)
        await eventually(lambda: app.health.wrong() == [], what="readiness")
    assert world.records(world.stock) == []


async def test_a_time_must_be_said_and_said_well(world: World) -> None:
    app = service(world)
    async with app.running():
        event = world.Ordered("o-1")
        for wrong in ({}, {"delay": SOON, "at": datetime.now(UTC)}, {"at": datetime.now()}, {"delay": -SOON}):
            with pytest.raises(ValueError):
                await app.schedule(event, **wrong)


async def test_the_waiting_topic_is_compacted_and_left_empty_of_what_was_published(world: World) -> None:
    app = service(world)
    async with app.running():
        identity = await app.schedule(world.Ordered("o-1"), delay=timedelta(0))
        await published(world, 1)
        waiting = f"{world.group}-scheduled"
        await eventually(lambda: len(world.records(waiting)) == 2, what="the tombstone")
    scheduled, tombstone = world.records(waiting)
    assert scheduled.key == tombstone.key == identity.encode()
    assert tombstone.value is None
    assert int(headers_of(scheduled)["ottla-due-ms"]) <= time.time() * 1000
    assert world.admin.describe_topic(waiting).config["cleanup.policy"] == "compact"
