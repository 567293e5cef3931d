"""Contract: compaction keeps the latest record of every key at its offset; tombstones and aborted records go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Message, Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from kafka import KafkaConsumer
from ottla.testing import Broker
from tests.contracts.clients import (
    PATIENCE_S,
    admin,
    consumer,
    create_topic,
    delivering,
    producer,
    read,
    wait_until,
)
from tests.contracts.differences import known_difference, no_zstd

Row = tuple[int, bytes | None, bytes | None]
LONG_AGO_MS = 60_000
SEGMENT_MS = 30_000  # a record that is so much younger than the first of a segment begins a new one


@pytest.fixture
def busy_cleaner(broker: Broker) -> Iterator[Broker]:
    """The broker, with a cleaner that looks for work every 50 ms instead of every 15 s."""
    _set_backoff(broker, AlterConfigOpType.SET, "50")
    yield broker
    _set_backoff(broker, AlterConfigOpType.DELETE, None)


def _set_backoff(broker: Broker, operation: AlterConfigOpType, value: str | None) -> None:
    entry = ConfigEntry("log.cleaner.backoff.ms", value, incremental_operation=operation)
    resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
    client = admin(broker)
    client.incremental_alter_configs([resource])[resource].result(PATIENCE_S)


def compacted_topic(broker: Broker, name: str, **more: str) -> str:
    settings = {"cleanup_policy": "compact", "segment_ms": str(SEGMENT_MS), "min_cleanable_dirty_ratio": "0.001"}
    return create_topic(broker, name, **settings, **more)


def write(
    broker: Broker, topic: str, *pairs: tuple[str, str | None], age_ms: int = LONG_AGO_MS, **options: object
) -> None:
    """Produces (key, value) records in one batch; the value None is a tombstone."""
    timestamp = time.time_ns() // 1_000_000 - age_ms
    with delivering(producer(broker, linger_ms=20, **options)) as deliver:
        for key, value in pairs:
            data = None if value is None else value.encode()
            deliver(topic, data, key=key.encode(), partition=0, timestamp=timestamp)


def roll(broker: Broker, topic: str, times: int = 1) -> None:
    """Ends the segment, for the first, second... time: what was written before may be compacted from now on."""
    write(broker, topic, ("roll", str(times)), age_ms=-times * 2 * SEGMENT_MS)


def rows(broker: Broker, topic: str, rolls: int = 1, **options: object) -> list[Row]:
    """All records of a topic, up to that of the last roll."""
    found: list[Message] = []
    with consumer(broker, **options) as client:
        client.assign([TopicPartition(topic, 0, 0)])
        while not found or (found[-1].key(), found[-1].value()) != (b"roll", str(rolls).encode()):
            found += read(client, 1)
    return [(message.offset(), message.key(), message.value()) for message in found]


def without_rolls(found: list[Row]) -> list[Row]:
    return [row for row in found if row[1] != b"roll"]


def test_the_latest_record_of_every_key_stays_at_its_offset(busy_cleaner: Broker, topic_name: str) -> None:
    broker = busy_cleaner
    compacted_topic(broker, topic_name)
    write(broker, topic_name, ("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"))
    write(broker, topic_name, ("b", "2"), ("d", "1"))
    roll(broker, topic_name)
    expected = [(2, b"a", b"2"), (3, b"c", b"1"), (4, b"b", b"2"), (5, b"d", b"1")]
    wait_until(lambda: without_rolls(rows(broker, topic_name)) == expected, what="compacted")
    with consumer(broker) as client:
        assert client.get_watermark_offsets(TopicPartition(topic_name, 0), timeout=PATIENCE_S) == (0, 7)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_are_compacted_too(
    busy_cleaner: Broker, topic_name: str, codec: str, request: pytest.FixtureRequest, broker_kind: str
) -> None:
    if codec == "zstd" and no_zstd():
        known_difference(request, broker_kind, "Python cannot open zstd here: such batches are kept whole")
    broker = busy_cleaner
    compacted_topic(broker, topic_name)
    text = "long enough that it pays to compress it " * 5
    write(broker, topic_name, ("a", text + "1"), ("b", text), ("a", text + "2"), compression_type=codec)
    roll(broker, topic_name)
    expected = [(1, b"b", text.encode()), (2, b"a", (text + "2").encode())]
    patience = 1.0 if codec == "zstd" and broker_kind == "embedded" and no_zstd() else PATIENCE_S
    wait_until(lambda: without_rolls(rows(broker, topic_name)) == expected, what="compacted", timeout_s=patience)


def test_tombstones_go_when_their_time_is_over(busy_cleaner: Broker, topic_name: str) -> None:
    broker = busy_cleaner
    compacted_topic(broker, topic_name, delete_retention_ms="300")
    write(broker, topic_name, ("a", "1"), ("b", "1"))
    write(broker, topic_name, ("a", None))
    roll(broker, topic_name)
    wait_until(lambda: (0, b"a", b"1") not in rows(broker, topic_name), what="compacted")
    seen_ms = time.monotonic()
    assert without_rolls(rows(broker, topic_name))[-1] == (2, b"a", None)

    rolls = 1

    def gone() -> bool:
        # Only new records make a log due again.
        nonlocal rolls
        rolls += 1
        roll(broker, topic_name, rolls)
        return (2, b"a", None) not in rows(broker, topic_name, rolls)

    wait_until(gone, what="the tombstone has gone")
    assert time.monotonic() - seen_ms > 0.2
    assert (1, b"b", b"1") in rows(broker, topic_name, rolls)


async def test_all_clients_read_a_log_with_gaps_emptied_batches_and_dated_tombstones(
    busy_cleaner: Broker, topic_name: str
) -> None:
    broker = busy_cleaner
    compacted_topic(broker, topic_name)
    # Of the idempotent producers' last batches only offsets and sequence numbers are left.
    write(broker, topic_name, ("a", "1"), ("b", "1"), enable_idempotence=True, compression_type="gzip")
    write(broker, topic_name, ("a", "2"), enable_idempotence=True)
    write(broker, topic_name, ("b", None), ("c", "1"), ("a", "3"))
    roll(broker, topic_name)
    expected = [(3, b"b", None), (4, b"c", b"1"), (5, b"a", b"3"), (6, b"roll", b"1")]
    wait_until(lambda: rows(broker, topic_name) == expected, what="compacted")

    old = KafkaConsumer(
        topic_name, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest", group_id=None
    )
    try:
        assert [(one.offset, one.key, one.value) for _, one in zip(expected, old, strict=False)] == expected
    finally:
        old.close()
    async with AIOKafkaConsumer(
        topic_name, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest"
    ) as client:
        found = [await asyncio.wait_for(client.getone(), PATIENCE_S) for _ in expected]
        assert [(one.offset, one.key, one.value) for one in found] == expected
    # A partition without a single record left that is to be read: everyone waits for the next one.
    with consumer(broker) as waiting:
        waiting.assign([TopicPartition(topic_name, 0, 7)])
        write(broker, topic_name, ("d", "1"), age_ms=0)
        assert read(waiting, 1)[0].offset() == 7


def test_records_of_aborted_transactions_go_and_do_not_replace_others(busy_cleaner: Broker, topic_name: str) -> None:
    broker = busy_cleaner
    compacted_topic(broker, topic_name)
    client = producer(broker, transactional_id=topic_name)
    client.init_transactions(PATIENCE_S)
    _transact(client, topic_name, "committed", commit=True)
    _transact(client, topic_name, "aborted", commit=False)
    roll(broker, topic_name)
    uncommitted = {"isolation_level": "read_uncommitted"}
    expected = [(0, b"a", b"committed")]
    wait_until(lambda: without_rolls(rows(broker, topic_name, **uncommitted)) == expected, what="compacted")
    assert without_rolls(rows(broker, topic_name, isolation_level="read_committed")) == expected


def _transact(client: Producer, topic: str, value: str, *, commit: bool) -> None:
    client.begin_transaction()
    client.produce(topic, value.encode(), key=b"a", timestamp=time.time_ns() // 1_000_000 - LONG_AGO_MS)
    assert client.flush(PATIENCE_S) == 0
    if commit:
        client.commit_transaction(PATIENCE_S)
    else:
        client.abort_transaction(PATIENCE_S)
