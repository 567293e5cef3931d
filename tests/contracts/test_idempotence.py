"""Contract: what a broker does with batches, sequences and producer epochs, with batches made by hand."""

from __future__ import annotations

import struct

import pytest

from ottla.testing import Broker
from tests.contracts import wire
from tests.contracts.clients import HOUR_AGO_MS, create_topic, end_offset, read_partition, values
from tests.contracts.wire import Connection, Produced, batch, init_producer_id, produce


@pytest.fixture
def producer_id(connection: Connection) -> int:
    return init_producer_id(connection)[0]


def test_a_new_producer_id_begins_at_epoch_0(connection: Connection) -> None:
    producer_id, epoch = init_producer_id(connection)
    assert producer_id >= 0
    assert epoch == 0


def test_every_producer_gets_an_id_of_its_own(connection: Connection) -> None:
    assert len({init_producer_id(connection)[0] for _ in range(20)}) == 20


def test_batches_in_sequence_are_appended(connection: Connection, topic: str, producer_id: int) -> None:
    first = produce(connection, topic, batch([b"a", b"b"], producer_id=producer_id, epoch=0, sequence=0))
    second = produce(connection, topic, batch([b"c"], producer_id=producer_id, epoch=0, sequence=2))
    assert (first, second) == (Produced(wire.NONE, 0), Produced(wire.NONE, 2))


def test_a_repeated_batch_gets_its_first_offset_and_is_not_appended(
    broker: Broker, connection: Connection, topic: str, producer_id: int
) -> None:
    once = batch([b"a", b"b"], producer_id=producer_id, epoch=0, sequence=0)
    produce(connection, topic, batch([b"before"]))
    assert produce(connection, topic, once) == Produced(wire.NONE, 1)
    assert produce(connection, topic, once) == Produced(wire.NONE, 1)
    assert end_offset(broker, topic) == 3


def test_each_of_the_last_five_batches_may_be_repeated(connection: Connection, topic: str, producer_id: int) -> None:
    batches = [batch([b"v"], producer_id=producer_id, epoch=0, sequence=n) for n in range(5)]
    for one in batches:
        produce(connection, topic, one)
    assert [produce(connection, topic, one).base_offset for one in batches] == [0, 1, 2, 3, 4]


def test_a_batch_older_than_the_last_five_is_out_of_order(connection: Connection, topic: str, producer_id: int) -> None:
    batches = [batch([b"v"], producer_id=producer_id, epoch=0, sequence=n) for n in range(6)]
    for one in batches:
        produce(connection, topic, one)
    assert produce(connection, topic, batches[0]).error == wire.OUT_OF_ORDER_SEQUENCE


def test_a_gap_in_the_sequence_is_out_of_order(
    broker: Broker, connection: Connection, topic: str, producer_id: int
) -> None:
    produce(connection, topic, batch([b"a"], producer_id=producer_id, epoch=0, sequence=0))
    after_a_gap = produce(connection, topic, batch([b"c"], producer_id=producer_id, epoch=0, sequence=2))
    assert after_a_gap == Produced(wire.OUT_OF_ORDER_SEQUENCE, -1)
    assert end_offset(broker, topic) == 1


def test_sequences_are_counted_per_partition(connection: Connection, topic_of_3: str, producer_id: int) -> None:
    first = batch([b"a"], producer_id=producer_id, epoch=0, sequence=0)
    answers = [produce(connection, topic_of_3, first, partition=partition) for partition in range(3)]
    assert answers == [Produced(wire.NONE, 0)] * 3


def test_a_producer_unknown_to_the_partition_may_begin_anywhere(
    connection: Connection, topic: str, producer_id: int
) -> None:
    answer = produce(connection, topic, batch([b"a"], producer_id=producer_id, epoch=0, sequence=17))
    assert answer == Produced(wire.NONE, 0)


def test_the_sequence_after_the_highest_is_zero(connection: Connection, topic: str, producer_id: int) -> None:
    produce(connection, topic, batch([b"a", b"b"], producer_id=producer_id, epoch=0, sequence=2_147_483_646))
    answer = produce(connection, topic, batch([b"c"], producer_id=producer_id, epoch=0, sequence=0))
    assert answer == Produced(wire.NONE, 2)


def test_a_batch_across_the_wrap_is_followed_by_what_is_left(
    connection: Connection, topic: str, producer_id: int
) -> None:
    across = batch([b"a", b"b", b"c"], producer_id=producer_id, epoch=0, sequence=2_147_483_646)
    assert produce(connection, topic, across) == Produced(wire.NONE, 0)
    answer = produce(connection, topic, batch([b"d"], producer_id=producer_id, epoch=0, sequence=1))
    assert answer == Produced(wire.NONE, 3)


def test_a_lower_epoch_is_refused(connection: Connection, topic: str, producer_id: int) -> None:
    produce(connection, topic, batch([b"a"], producer_id=producer_id, epoch=3, sequence=0))
    answer = produce(connection, topic, batch([b"b"], producer_id=producer_id, epoch=2, sequence=1))
    assert answer == Produced(wire.INVALID_PRODUCER_EPOCH, -1)


def test_a_new_epoch_begins_at_sequence_0(connection: Connection, topic: str, producer_id: int) -> None:
    produce(connection, topic, batch([b"a"], producer_id=producer_id, epoch=0, sequence=0))
    wrong = produce(connection, topic, batch([b"b"], producer_id=producer_id, epoch=1, sequence=1))
    right = produce(connection, topic, batch([b"b"], producer_id=producer_id, epoch=1, sequence=0))
    assert (wrong.error, right) == (wire.OUT_OF_ORDER_SEQUENCE, Produced(wire.NONE, 1))


def test_batches_without_a_producer_id_may_be_repeated(broker: Broker, connection: Connection, topic: str) -> None:
    same = batch([b"a"])
    assert [produce(connection, topic, same).base_offset for _ in range(3)] == [0, 1, 2]


def test_the_records_of_a_batch_made_by_hand_are_read_back(broker: Broker, connection: Connection, topic: str) -> None:
    produce(connection, topic, batch([b"a", b"", b"c"], timestamp_ms=HOUR_AGO_MS))
    records = read_partition(broker, topic, 3)
    assert values(records) == [b"a", b"", b"c"]
    assert [record.timestamp()[1] for record in records] == [HOUR_AGO_MS + n for n in range(3)]


@pytest.mark.parametrize("byte", [21, 22, 60, 65])
def test_a_batch_with_a_flipped_bit_is_corrupt(connection: Connection, topic: str, byte: int) -> None:
    damaged = bytearray(batch([b"some value"]))
    damaged[byte] ^= 1
    assert produce(connection, topic, bytes(damaged)) == Produced(wire.CORRUPT_MESSAGE, -1)


def test_a_corrupt_batch_leaves_no_record(broker: Broker, connection: Connection, topic: str) -> None:
    damaged = batch([b"some value"])[:-2] + b"??"
    assert produce(connection, topic, damaged).error == wire.CORRUPT_MESSAGE
    assert end_offset(broker, topic) == 0


@pytest.mark.parametrize("byte", [21, 26, 43, 51, 53, 200_000, -1])
def test_a_large_corrupt_batch_leaves_nothing_and_the_next_ones_follow(
    broker: Broker, connection: Connection, topic: str, producer_id: int, byte: int
) -> None:
    """Large ones are checked later; whatever field is damaged, the answer is the same."""
    values = [bytes([n]) * 100_000 for n in range(4)]
    first, second = (batch(values, producer_id=producer_id, epoch=0, sequence=n) for n in (0, 4))
    damaged = bytearray(second)
    damaged[byte] ^= 1
    assert produce(connection, topic, first) == Produced(wire.NONE, 0)
    assert produce(connection, topic, bytes(damaged)) == Produced(wire.CORRUPT_MESSAGE, -1)
    assert end_offset(broker, topic) == 4
    assert produce(connection, topic, second) == Produced(wire.NONE, 4)
    assert produce(connection, topic, second) == Produced(wire.NONE, 4)
    assert produce(connection, topic, bytes(damaged)) == Produced(wire.CORRUPT_MESSAGE, -1)
    assert [record.value() for record in read_partition(broker, topic, 8)] == values * 2


def test_a_batch_cut_short_counts_as_no_batch(connection: Connection, topic: str) -> None:
    assert produce(connection, topic, batch([b"some value"])[:-4]).error == wire.INVALID_RECORD


def test_two_batches_for_one_partition_in_one_request_are_refused(connection: Connection, topic: str) -> None:
    assert produce(connection, topic, batch([b"a"]) + batch([b"b"])).error == wire.INVALID_RECORD


def test_a_batch_whose_last_offset_contradicts_its_count_is_refused(connection: Connection, topic: str) -> None:
    assert produce(connection, topic, batch([b"a", b"b"], last_offset_delta=5)).error == wire.INVALID_RECORD


def test_no_records_at_all_are_refused(connection: Connection, topic: str) -> None:
    assert produce(connection, topic, b"").error == wire.INVALID_RECORD


def test_a_topic_that_does_not_exist_is_unknown_to_produce(connection: Connection, topic_name: str) -> None:
    assert produce(connection, topic_name, batch([b"a"])).error == wire.UNKNOWN_TOPIC_OR_PARTITION


def test_a_partition_that_does_not_exist_is_unknown_to_produce(connection: Connection, topic: str) -> None:
    assert produce(connection, topic, batch([b"a"]), partition=1).error == wire.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("acks", [2, -2])
def test_acks_are_0_or_1_or_all(connection: Connection, topic: str, acks: int) -> None:
    assert produce(connection, topic, batch([b"a"]), acks=acks).error == wire.INVALID_REQUIRED_ACKS


def test_acks_0_gets_no_answer(broker: Broker, connection: Connection, topic: str) -> None:
    connection.send(wire.PRODUCE, 7, wire.produce_body(topic, batch([b"a"]), acks=0))
    behind_it = connection.send(wire.API_VERSIONS, 0, b"")
    assert connection.receive()[0] == behind_it
    assert values(read_partition(broker, topic, 1)) == [b"a"]


def test_acks_0_with_a_corrupt_batch_closes_the_connection(connection: Connection, topic: str) -> None:
    connection.send(wire.PRODUCE, 7, wire.produce_body(topic, batch([b"some value"])[:-2] + b"??", acks=0))
    assert connection.closed_by_broker()


def test_one_request_for_several_partitions_answers_each(connection: Connection, topic_of_3: str) -> None:
    partitions = [
        struct.pack(">i", partition) + wire.blob(records)
        for partition, records in ((0, batch([b"a"])), (1, batch([b"some value"])[:-2] + b"??"), (2, batch([b"c"])))
    ]
    body = (
        wire.string(None)
        + struct.pack(">hi", -1, 5000)
        + wire.array([wire.string(topic_of_3) + wire.array(partitions)])
    )
    answer = connection.ask(wire.PRODUCE, 7, body)
    answer.int32(), answer.string()
    errors = {}
    for _ in range(answer.int32()):
        partition = answer.int32()
        errors[partition] = answer.int16()
        answer.int64(), answer.int64(), answer.int64()
    assert errors == {0: wire.NONE, 1: wire.CORRUPT_MESSAGE, 2: wire.NONE}


def test_a_repeated_batch_is_known_after_kill_and_restart(killable_broker: Broker, topic_name: str) -> None:
    create_topic(killable_broker, topic_name)
    with Connection(killable_broker) as before:
        producer_id, _ = init_producer_id(before)
        batches = [batch([b"v"], producer_id=producer_id, epoch=0, sequence=n) for n in range(3)]
        assert [produce(before, topic_name, one).base_offset for one in batches] == [0, 1, 2]
    killable_broker.kill()
    killable_broker.start()
    with Connection(killable_broker) as after:
        assert produce(after, topic_name, batches[2]) == Produced(wire.NONE, 2)
        gap = batch([b"v"], producer_id=producer_id, epoch=0, sequence=4)
        assert produce(after, topic_name, gap).error == wire.OUT_OF_ORDER_SEQUENCE
        following = batch([b"v"], producer_id=producer_id, epoch=0, sequence=3)
        assert produce(after, topic_name, following) == Produced(wire.NONE, 3)
        assert init_producer_id(after)[0] != producer_id
