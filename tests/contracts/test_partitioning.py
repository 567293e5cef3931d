"""Contract: where a record goes is said by its key, as Kafka's default partitioner says it: Java's client is asked."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from typing import Any

import pytest

from ottla import App, Producer, event
from ottla.errors import ServerFailed
from ottla.streams.partitioning import partition_of
from ottla.testing import KafkaHome
from tests.conftest import IN_CI
from tests.contracts.clients import create_topic
from tests.listeners.harness import World, service

PARTITIONS = 7
ID = uuid.UUID("6f1c4f2e-0d5a-4a57-9d0e-3f7c1f2f9b11")
TEXTS = ["", "a", "Ünï-cödé €", "0042", "x" * 300]
INTS = [0, 42, -7, 2**40]
BYTES = [b"raw", "ß".encode(), b""]


def events_of(topic: str) -> list[Any]:
    """Events with keys of every kind, none twice the same bytes but for the empty one."""

    @event(topic, key="by")
    @dataclasses.dataclass
    class ByText:
        by: str

    @event(topic, key="by")
    @dataclasses.dataclass
    class ByInt:
        by: int

    @event(topic, key="by")
    @dataclasses.dataclass
    class ByBytes:
        by: bytes

    @event(topic, key="by")
    @dataclasses.dataclass
    class ById:
        by: uuid.UUID

    return [*map(ByText, TEXTS), *map(ByInt, INTS), *map(ByBytes, BYTES), ById(ID)]


def as_java_writes(one: Any) -> str:
    """The same key as text, which Java's StringSerializer makes bytes of."""
    return one.by.decode() if isinstance(one.by, bytes) else str(one.by)


def places(world: World, topic: str) -> dict[bytes | None, set[int]]:
    found: dict[bytes | None, set[int]] = {}
    for record in world.records(topic):
        found.setdefault(record.key, set()).add(record.partition)
    return found


async def test_java_and_python_put_equal_keys_into_the_same_partition(world: World) -> None:
    try:
        home = KafkaHome.find()
    except ServerFailed as missing:
        (pytest.fail if IN_CI else pytest.skip)(str(missing))
    ours = create_topic(world.broker, world.orders, partitions=PARTITIONS)
    javas = create_topic(world.broker, f"{world.orders}-java", partitions=PARTITIONS)
    events = events_of(ours)
    lines = "".join(f"{as_java_writes(one)}\tv\n" for one in events)
    servers = world.broker.bootstrap_servers
    options = ["--bootstrap-server", servers, "--topic", javas, "--reader-property", "parse.key=true"]
    java = asyncio.to_thread(home.run, "org.apache.kafka.tools.ConsoleProducer", *options, stdin=lines, timeout_s=90)
    app = service(world)
    async with app.running():
        done, _ = await asyncio.gather(java, app.publish_many(events))
        assert done.returncode == 0, done.stderr
        await asyncio.gather(*(app.publish(one) for one in events))
        async with app.transaction() as transaction:
            for one in events:
                await transaction.publish(one)
    with Producer(world.settings) as producer:
        producer.publish_many(events)
    wanted = places(world, javas)
    assert len(wanted) == len(events) - 1
    assert all(len(where) == 1 for where in wanted.values())
    assert places(world, ours) == wanted
    assert wanted == {key: {partition_of(key or b"", PARTITIONS)} for key in wanted}


@event("replaced", key="by")
@dataclasses.dataclass
class MaybeKeyed:
    by: str | None
    number: int = 0


async def test_events_without_a_key_are_spread_and_those_with_an_empty_one_stay_together(world: World) -> None:
    create_topic(world.broker, world.orders, partitions=PARTITIONS)
    app, spread, together = service(world), set[int](), set[int]()
    async with app.running():
        deadline = time.monotonic() + 30
        while len(spread) < 3 and time.monotonic() < deadline:
            spread.add((await app.publish(MaybeKeyed(None), topic=world.orders)).partition)
            together.add((await app.publish(MaybeKeyed(""), topic=world.orders)).partition)
    assert len(spread) >= 3
    assert together == {partition_of(b"", PARTITIONS)}
    assert set(places(world, world.orders)) == {None, b""}


async def test_a_tombstone_goes_where_the_events_of_its_key_are(world: World) -> None:
    create_topic(world.broker, world.orders, partitions=PARTITIONS)
    app = App(world.group, settings=world.settings)
    async with app.running():
        for number in range(20):
            written = await app.publish(world.Ordered(f"o-{number}"))
            deleted = await app.publish_tombstone(world.Ordered, f"o-{number}")
            assert (deleted.partition, written.partition) == 2 * (partition_of(b"o-%d" % number, PARTITIONS),)
    assert all(len(where) == 1 for where in places(world, world.orders).values())
