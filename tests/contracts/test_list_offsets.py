"""Contract: offsets by meaning and by time, and the deletion of records from the front."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from ottla.testing import Broker
from tests.contracts.clients import (
    HOUR_AGO_MS,
    PATIENCE_S,
    admin,
    consumer,
    create_topic,
    delivering,
    produce,
    producer,
    read_partition,
    values,
)
from tests.contracts.differences import known_difference, no_zstd


def offset_at(broker: Broker, topic: str, spec: OffsetSpec, partition: int = 0) -> int:
    wanted = TopicPartition(topic, partition)
    client = admin(broker)  # Held: without its client a future never ends.
    return client.list_offsets({wanted: spec})[wanted].result(PATIENCE_S).offset


@pytest.fixture
def timed_topic(broker: Broker, topic: str) -> str:
    """Ten records whose timestamps are 100 ms apart, in one batch where that can be."""
    with delivering(producer(broker, linger_ms=50)) as deliver:
        for number in range(10):
            deliver(topic, b"v%d" % number, timestamp=HOUR_AGO_MS + number * 100)
    return topic


def test_earliest_and_latest_of_an_empty_partition_are_0(broker: Broker, topic: str) -> None:
    assert offset_at(broker, topic, OffsetSpec.earliest()) == 0
    assert offset_at(broker, topic, OffsetSpec.latest()) == 0


def test_latest_is_the_offset_of_the_next_record(broker: Broker, topic_of_3: str) -> None:
    produce(broker, topic_of_3, [b"v"] * 4, partition=1)
    assert [offset_at(broker, topic_of_3, OffsetSpec.latest(), partition) for partition in range(3)] == [0, 4, 0]


@pytest.mark.parametrize(
    ("after_ms", "offset"), [(0, 0), (-5000, 0), (100, 1), (101, 2), (450, 5), (899, 9), (900, 9), (901, -1)]
)
def test_by_time_it_is_the_first_record_not_older(broker: Broker, timed_topic: str, after_ms: int, offset: int) -> None:
    assert offset_at(broker, timed_topic, OffsetSpec.for_timestamp(HOUR_AGO_MS + after_ms)) == offset


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_by_time_a_compressed_batch_is_looked_into(
    request: pytest.FixtureRequest, broker_kind: str, broker: Broker, topic: str, codec: str
) -> None:
    if codec == "zstd" and no_zstd():
        known_difference(request, broker_kind, "without a zstd library a batch answers with its first record")
    with delivering(producer(broker, linger_ms=50, compression_type=codec)) as deliver:
        for number in range(10):
            deliver(topic, b"v" * 100, timestamp=HOUR_AGO_MS + number * 100)
    assert offset_at(broker, topic, OffsetSpec.for_timestamp(HOUR_AGO_MS + 450)) == 5


def test_by_time_across_batches(broker: Broker, topic: str) -> None:
    client = producer(broker)
    for number in range(5):
        with delivering(client) as deliver:
            deliver(topic, b"v", timestamp=HOUR_AGO_MS + number * 1000)
    assert offset_at(broker, topic, OffsetSpec.for_timestamp(HOUR_AGO_MS + 2500)) == 3


def test_the_highest_timestamp_names_its_record(broker: Broker, topic: str) -> None:
    client = producer(broker)
    for after_ms in (0, 900, 100):
        with delivering(client) as deliver:
            deliver(topic, b"v", timestamp=HOUR_AGO_MS + after_ms)
    assert offset_at(broker, topic, OffsetSpec.max_timestamp()) == 1


def test_a_consumer_starts_from_a_time(broker: Broker, timed_topic: str) -> None:
    with consumer(broker) as client:
        (found,) = client.offsets_for_times([TopicPartition(timed_topic, 0, HOUR_AGO_MS + 650)], timeout=PATIENCE_S)
    assert found.offset == 7


def test_records_can_be_deleted_from_the_front(broker: Broker, topic: str) -> None:
    produce(broker, topic, [b"v%d" % number for number in range(10)])
    before = TopicPartition(topic, 0, 6)
    client = admin(broker)
    assert client.delete_records([before])[before].result(PATIENCE_S).low_watermark == 6
    assert offset_at(broker, topic, OffsetSpec.earliest()) == 6
    assert offset_at(broker, topic, OffsetSpec.latest()) == 10
    assert values(read_partition(broker, topic, 4, start=6)) == [b"v6", b"v7", b"v8", b"v9"]


def test_records_cannot_be_deleted_beyond_the_end(broker: Broker, topic: str) -> None:
    produce(broker, topic, [b"v"])
    beyond = TopicPartition(topic, 0, 5)
    client = admin(broker)
    with pytest.raises(KafkaException):
        client.delete_records([beyond])[beyond].result(PATIENCE_S)


def test_an_unknown_partition_has_no_offsets(broker: Broker, topic_name: str) -> None:
    create_topic(broker, topic_name)
    with pytest.raises(KafkaException):
        offset_at(broker, topic_name, OffsetSpec.latest(), partition=4)
