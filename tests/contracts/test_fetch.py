"""Contract: what consumers fetch, from where, how much, and when the answer comes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from ottla.testing import Broker
from tests.contracts import wire
from tests.contracts.clients import (
    PATIENCE_S,
    consumer,
    error_code,
    produce,
    read,
    read_partition,
    send,
    values,
    wait_until,
)
from tests.contracts.wire import Connection, batch


def fill(connection: Connection, topic: str, batches: int, size: int = 1000) -> None:
    for number in range(batches):
        assert wire.produce(connection, topic, batch([b"%d" % (number % 10) * size])).error == wire.NONE


def test_an_empty_partition_gives_nothing_and_no_error(connection: Connection, topic: str) -> None:
    fetched = wire.fetch(connection, topic, 0)
    assert (fetched.error, fetched.high_watermark, fetched.records) == (wire.NONE, 0, b"")


def test_a_fetch_begins_at_its_offset(connection: Connection, topic: str) -> None:
    fill(connection, topic, 5)
    fetched = wire.fetch(connection, topic, 3)
    assert wire.base_offsets(fetched.records) == [3, 4]
    assert fetched.high_watermark == 5


def test_a_fetch_within_a_batch_gets_the_whole_batch(connection: Connection, topic: str) -> None:
    wire.produce(connection, topic, batch([b"a", b"b", b"c"]))
    assert wire.base_offsets(wire.fetch(connection, topic, 2).records) == [0]


def test_the_bytes_of_a_batch_come_back_as_they_went(connection: Connection, topic: str) -> None:
    sent = batch([b"a", b"b"])
    wire.produce(connection, topic, sent)
    fetched = wire.fetch(connection, topic, 0).records
    # The broker sets base offset and leader epoch, which lie outside the checksum. Length, magic and the rest stay.
    assert fetched[8:12] == sent[8:12]
    assert fetched[16:] == sent[16:]


def test_a_fetch_at_the_end_is_empty(connection: Connection, topic: str) -> None:
    fill(connection, topic, 2)
    fetched = wire.fetch(connection, topic, 2)
    assert (fetched.error, fetched.records) == (wire.NONE, b"")


@pytest.mark.parametrize("offset", [3, 1_000_000, -1])
def test_an_offset_outside_the_log_is_out_of_range(connection: Connection, topic: str, offset: int) -> None:
    fill(connection, topic, 2)
    assert wire.fetch(connection, topic, offset).error == wire.OFFSET_OUT_OF_RANGE


def test_an_error_is_not_held_back_by_the_long_poll(connection: Connection, topic: str) -> None:
    started = time.monotonic()
    fetched = wire.fetch(connection, topic, 99, max_wait_ms=10_000)
    assert fetched.error == wire.OFFSET_OUT_OF_RANGE
    assert time.monotonic() - started < 5


def test_an_unknown_topic_is_unknown_to_fetch(connection: Connection, topic_name: str) -> None:
    assert wire.fetch(connection, topic_name, 0).error == wire.UNKNOWN_TOPIC_OR_PARTITION


def test_an_unknown_partition_is_unknown_to_fetch(connection: Connection, topic: str) -> None:
    assert wire.fetch(connection, topic, 0, partition=7).error == wire.UNKNOWN_TOPIC_OR_PARTITION


def test_max_bytes_ends_the_answer(connection: Connection, topic: str) -> None:
    fill(connection, topic, 20)
    fetched = wire.fetch(connection, topic, 0, max_bytes=5_000)
    assert len(fetched.records) <= 5_000
    assert 1 <= len(wire.base_offsets(fetched.records)) < 5


def test_the_partitions_max_bytes_ends_its_part(connection: Connection, topic: str) -> None:
    fill(connection, topic, 20)
    assert 1 <= len(wire.base_offsets(wire.fetch(connection, topic, 0, partition_max_bytes=5_000).records)) < 5


def test_the_first_batch_comes_even_if_it_is_larger_than_max_bytes(connection: Connection, topic: str) -> None:
    fill(connection, topic, 2, size=10_000)
    fetched = wire.fetch(connection, topic, 0, max_bytes=100, partition_max_bytes=100)
    assert wire.base_offsets(fetched.records) == [0]


def test_a_long_poll_waits_while_there_is_nothing(connection: Connection, topic: str) -> None:
    started = time.monotonic()
    assert wire.fetch(connection, topic, 0, max_wait_ms=300).records == b""
    assert time.monotonic() - started >= 0.29


def test_a_long_poll_wakes_when_a_record_is_appended(broker: Broker, connection: Connection, topic: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        waiting = pool.submit(wire.fetch, connection, topic, 0, max_wait_ms=12_000)
        with Connection(broker) as writer:
            wire.produce(writer, topic, batch([b"wake up"]))
        assert b"wake up" in waiting.result(PATIENCE_S).records
        assert time.monotonic() - started < 5


def test_a_long_poll_waits_for_min_bytes(broker: Broker, connection: Connection, topic: str) -> None:
    with ThreadPoolExecutor(1) as pool, Connection(broker) as writer:
        waiting = pool.submit(wire.fetch, connection, topic, 0, max_wait_ms=12_000, min_bytes=3_000)
        fill(writer, topic, 4)
        assert len(waiting.result(PATIENCE_S).records) >= 3_000


def test_a_long_poll_for_min_bytes_ends_with_what_there_is(connection: Connection, topic: str) -> None:
    fill(connection, topic, 1)
    fetched = wire.fetch(connection, topic, 0, max_wait_ms=200, min_bytes=1_000_000)
    assert wire.base_offsets(fetched.records) == [0]


def test_many_long_polls_wake_together(broker: Broker, topic: str) -> None:
    def wait_for_a_record() -> bytes:
        with Connection(broker) as own:
            return wire.fetch(own, topic, 0, max_wait_ms=12_000).records

    with ThreadPoolExecutor(10) as pool:
        waiting = [pool.submit(wait_for_a_record) for _ in range(10)]
        send(broker, topic, b"for all")
        assert all(b"for all" in one.result(PATIENCE_S) for one in waiting)


def test_a_client_that_goes_away_in_a_long_poll_harms_nobody(
    broker: Broker, connection: Connection, topic: str
) -> None:
    for _ in range(5):
        with Connection(broker) as leaving:
            leaving.send(wire.FETCH, 11, wire.fetch_body(topic, 0, max_wait_ms=5_000))
    fill(connection, topic, 1)
    assert wire.base_offsets(wire.fetch(connection, topic, 0).records) == [0]


def test_one_fetch_reads_several_partitions(broker: Broker, topic_of_3: str) -> None:
    for partition in range(3):
        produce(broker, topic_of_3, [b"in %d" % partition], partition=partition)
    with consumer(broker) as client:
        client.assign([TopicPartition(topic_of_3, partition, 0) for partition in range(3)])
        assert sorted(values(read(client, 3)), key=bytes) == [b"in 0", b"in 1", b"in 2"]


def test_a_large_partition_is_read_whole_in_small_fetches(broker: Broker, topic: str) -> None:
    sent = [b"%04d" % number * 250 for number in range(2000)]
    produce(broker, topic, sent)
    with consumer(
        broker, fetch_max_bytes=100_000, max_partition_fetch_bytes=50_000, message_max_bytes=100_000
    ) as client:
        client.assign([TopicPartition(topic, 0, 0)])
        assert values(read(client, 2000)) == sent


def test_a_consumer_out_of_range_is_reset_to_the_earliest(broker: Broker, topic: str) -> None:
    produce(broker, topic, [b"v0", b"v1"])
    with consumer(broker, auto_offset_reset="earliest") as client:
        client.assign([TopicPartition(topic, 0, 500)])
        assert values(read(client, 2)) == [b"v0", b"v1"]


def test_a_consumer_out_of_range_is_reset_to_the_latest(broker: Broker, topic: str) -> None:
    produce(broker, topic, [b"v0", b"v1"])
    with consumer(broker, auto_offset_reset="latest", enable_partition_eof=True) as client:
        client.assign([TopicPartition(topic, 0, 500)])
        end = wait_until(lambda: client.poll(0.2), what="the end of the partition")
        assert (end.error().code(), end.offset()) == (KafkaError._PARTITION_EOF, 2)
        send(broker, topic, b"new")
        assert values(read(client, 1)) == [b"new"]


def test_a_consumer_out_of_range_may_ask_for_an_error(broker: Broker, topic: str) -> None:
    produce(broker, topic, [b"v"])
    with consumer(broker, auto_offset_reset="error") as client:
        client.assign([TopicPartition(topic, 0, 500)])
        with pytest.raises(KafkaException) as failure:
            read(client, 1)
    assert error_code(failure.value) == KafkaError._AUTO_OFFSET_RESET


def test_a_consumer_may_seek_back(broker: Broker, topic: str) -> None:
    produce(broker, topic, [b"v0", b"v1", b"v2"])
    with consumer(broker) as client:
        client.assign([TopicPartition(topic, 0, 0)])
        read(client, 3)
        client.seek(TopicPartition(topic, 0, 1))
        assert values(read(client, 2)) == [b"v1", b"v2"]


def test_a_consumer_sees_the_end_of_a_partition(broker: Broker, topic: str) -> None:
    produce(broker, topic, [b"v"])
    with consumer(broker, enable_partition_eof=True) as client:
        client.assign([TopicPartition(topic, 0, 0)])
        read(client, 1)
        end = wait_until(lambda: client.poll(0.2), what="the end of the partition")
    assert (end.error().code(), end.offset()) == (KafkaError._PARTITION_EOF, 1)


def test_every_reader_reads_all(broker: Broker, topic: str) -> None:
    produce(broker, topic, [b"v0", b"v1"])
    assert values(read_partition(broker, topic, 2)) == values(read_partition(broker, topic, 2))
