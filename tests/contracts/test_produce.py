"""Contract: what producers send is acknowledged, kept, and given back byte by byte."""

from __future__ import annotations

import os
import time

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException

from ottla.testing import Broker
from tests.contracts.clients import (
    consumer,
    create_topic,
    delivering,
    end_offset,
    error_code,
    produce,
    producer,
    read,
    read_partition,
    send,
    values,
)

THOUSAND = [b"value-%d" % number for number in range(1000)]


@pytest.mark.parametrize("acks", [0, 1, -1])
def test_a_record_is_kept_under_every_kind_of_acknowledgement(broker: Broker, topic: str, acks: int) -> None:
    send(broker, topic, b"v", client=producer(broker, acks=acks))
    assert values(read_partition(broker, topic, 1)) == [b"v"]


def test_acknowledgements_name_partition_and_offset(broker: Broker, topic_of_3: str) -> None:
    client = producer(broker)
    acknowledged = [send(broker, topic_of_3, b"v", client=client, partition=2) for _ in range(3)]
    assert [(record.partition(), record.offset()) for record in acknowledged] == [(2, 0), (2, 1), (2, 2)]


def test_records_keep_the_order_in_which_they_were_sent(broker: Broker, topic: str) -> None:
    produce(broker, topic, THOUSAND)
    records = read_partition(broker, topic, 1000)
    assert values(records) == THOUSAND
    assert [record.offset() for record in records] == list(range(1000))


def test_an_idempotent_producer_keeps_order_and_doubles_nothing(broker: Broker, topic: str) -> None:
    produce(broker, topic, THOUSAND, enable_idempotence=True, batch_num_messages=7)
    assert values(read_partition(broker, topic, 1000)) == THOUSAND
    assert end_offset(broker, topic) == 1000


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_comes_back_as_it_went(broker: Broker, topic: str, codec: str) -> None:
    sent = [bytes([number % 251]) * 200 for number in range(500)]
    produce(broker, topic, sent, compression_type=codec, linger_ms=20)
    assert values(read_partition(broker, topic, 500)) == sent


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_reader_may_begin_within_a_compressed_batch(broker: Broker, topic: str, codec: str) -> None:
    produce(broker, topic, THOUSAND, compression_type=codec, linger_ms=50)
    assert values(read_partition(broker, topic, 500, start=500)) == THOUSAND[500:]


@pytest.mark.parametrize(
    ("key", "value"), [(None, None), (b"k", None), (None, b"v"), (b"", b""), (b"\x00\xff", bytes(range(192, 256)))]
)
def test_keys_and_values_may_be_null_empty_or_any_bytes(
    broker: Broker, topic: str, key: bytes | None, value: bytes | None
) -> None:
    send(broker, topic, value, key=key)
    (record,) = read_partition(broker, topic, 1)
    assert (record.key(), record.value()) == (key, value)


def test_headers_keep_order_doubles_and_nulls(broker: Broker, topic: str) -> None:
    headers = [("a", b"1"), ("b", b""), ("a", b"2"), ("null", None), ("ünïcode", "wörd".encode())]
    send(broker, topic, b"v", headers=headers)
    (record,) = read_partition(broker, topic, 1)
    assert record.headers() == headers


def test_a_producers_timestamp_is_kept(broker: Broker, topic: str) -> None:
    yesterday_ms = int(time.time() * 1000) - 86_400_000
    send(broker, topic, b"v", timestamp=yesterday_ms)
    (record,) = read_partition(broker, topic, 1)
    assert record.timestamp() == (TIMESTAMP_CREATE_TIME, yesterday_ms)


def test_with_log_append_time_the_brokers_clock_counts(broker: Broker, topic_name: str) -> None:
    create_topic(broker, topic_name, message_timestamp_type="LogAppendTime")
    before_ms = int(time.time() * 1000)
    send(broker, topic_name, b"v", timestamp=1_600_000_000_123)
    (record,) = read_partition(broker, topic_name, 1)
    kind, timestamp_ms = record.timestamp()
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    assert before_ms - 1000 <= timestamp_ms <= time.time() * 1000 + 1000


def test_a_record_larger_than_the_topic_allows_is_refused(broker: Broker, topic_name: str) -> None:
    create_topic(broker, topic_name, max_message_bytes="1000")
    with pytest.raises(KafkaException) as failure:
        send(broker, topic_name, b"x" * 2000)
    assert error_code(failure.value) == KafkaError.MSG_SIZE_TOO_LARGE
    assert end_offset(broker, topic_name) == 0


def test_records_that_are_larger_than_a_segment_may_become_are_refused(broker: Broker, topic_name: str) -> None:
    create_topic(broker, topic_name, segment_bytes=str(1 << 20), max_message_bytes="5000000")
    client = producer(broker, message_max_bytes=4_000_000)
    fits = os.urandom((1 << 20) - 200)
    send(broker, topic_name, fits, client=client)
    with pytest.raises(KafkaException) as failure:
        send(broker, topic_name, os.urandom(1 << 20), client=client)
    assert error_code(failure.value) == KafkaError.RECORD_LIST_TOO_LARGE
    assert values(read_partition(broker, topic_name, 1)) == [fits]
    assert end_offset(broker, topic_name) == 1


def test_a_record_larger_than_kafkas_default_is_refused(broker: Broker, topic: str) -> None:
    with pytest.raises(KafkaException) as failure:
        send(broker, topic, os.urandom(1_100_000), client=producer(broker, message_max_bytes=3_000_000))
    assert error_code(failure.value) == KafkaError.MSG_SIZE_TOO_LARGE


def test_a_record_just_below_the_limit_is_taken(broker: Broker, topic: str) -> None:
    sent = os.urandom(1_048_588 - 200)
    send(broker, topic, sent, client=producer(broker, message_max_bytes=3_000_000))
    assert values(read_partition(broker, topic, 1)) == [sent]


def test_a_topic_may_allow_more_than_the_default(broker: Broker, topic_name: str) -> None:
    create_topic(broker, topic_name, max_message_bytes="5000000")
    sent = os.urandom(3_000_000)
    send(broker, topic_name, sent, client=producer(broker, message_max_bytes=4_000_000))
    assert values(read_partition(broker, topic_name, 1)) == [sent]


def test_an_unknown_topic_is_an_error_and_not_created(broker: Broker, topic_name: str) -> None:
    with pytest.raises(KafkaException) as failure:
        send(broker, topic_name, b"v", client=producer(broker, topic_metadata_propagation_max_ms=100))
    assert error_code(failure.value) in (KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)


def test_one_key_always_goes_to_one_partition(broker: Broker, topic_of_3: str) -> None:
    client = producer(broker)
    keys = [b"key-%d" % (number % 10) for number in range(100)]
    with delivering(client) as deliver:
        for key in keys:
            deliver(topic_of_3, b"v", key=key)
    with consumer(broker, f"{topic_of_3}-group") as reading:
        reading.subscribe([topic_of_3])
        records = read(reading, 100)
    partitions = {key: {r.partition() for r in records if r.key() == key} for key in keys}
    assert all(len(found) == 1 for found in partitions.values())
    assert len({partition for found in partitions.values() for partition in found}) > 1


def test_two_producers_may_write_one_partition_at_once(broker: Broker, topic: str) -> None:
    first, second = producer(broker), producer(broker)
    with delivering(first) as deliver_first, delivering(second) as deliver_second:
        for number in range(500):
            deliver_first(topic, b"first-%d" % number)
            deliver_second(topic, b"second-%d" % number)
    found = values(read_partition(broker, topic, 1000))
    for name in (b"first", b"second"):
        own = [value for value in found if value and value.startswith(name)]
        assert own == [b"%s-%d" % (name, number) for number in range(500)]
