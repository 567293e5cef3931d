"""Contract: ListOffsets as it goes over the wire: what each version answers to each question, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from ottla.broker.wire.messages.list_offsets import LIST_OFFSETS
from ottla.broker.wire.messages.produce import PRODUCE
from ottla.broker.wire.schema import Message
from ottla.testing import Broker
from tests.broker.batches import batch
from tests.contracts.asking import Asking
from tests.contracts.clients import HOUR_AGO_MS, create_topic
from tests.contracts.transactor import Transactor

T = HOUR_AGO_MS
NONE, UNKNOWN_SERVER_ERROR, UNKNOWN_TOPIC_OR_PARTITION, UNSUPPORTED_VERSION, INVALID_REQUEST = 0, -1, 3, 35, 42
FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH = 74, 75
LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED = -1, -2, -3, -4, -5
READ_UNCOMMITTED, READ_COMMITTED = 0, 1
VERSIONS = range(1, 11)  # version 0 is gone from Apache Kafka
NEWEST = 10
GZIP = 1


class Found(NamedTuple):
    """A partition's part of an answer. Before version 4 there is no epoch: the tables put -1 there."""

    error: int
    timestamp: int
    offset: int
    epoch: int


NOWHERE = Found(NONE, -1, -1, -1)


def error(code: int) -> Found:
    return Found(code, -1, -1, -1)


def at(offset: int, timestamp: int = -1, *, version: int = NEWEST) -> Found:
    return Found(NONE, timestamp, offset, 0 if version >= 4 else -1)


@pytest.fixture
def asking(broker: Broker) -> Iterator[Asking]:
    with Asking(broker) as opened:
        yield opened


def put(asking: Asking, topic: str, *after_ms: int, codec: int = 0) -> None:
    """Produces one batch of records of these times."""
    records = batch([b"v"] * len(after_ms), timestamps=[T + one for one in after_ms], codec=codec)
    data = [{"name": topic, "partition_data": [{"index": 0, "records": records}]}]
    answer = asking.ask(PRODUCE, 9, transactional_id=None, acks=-1, timeout_ms=10_000, topic_data=data)
    assert answer["responses"][0]["partition_responses"][0]["error_code"] == NONE


def entry(timestamp: int, *, partition: int = 0, epoch: int = -1) -> Message:
    return {"partition_index": partition, "current_leader_epoch": epoch, "timestamp": timestamp}


def ask(
    asking: Asking, topic: str, *entries: Message, version: int = NEWEST, isolation_level: int = 0, replica_id: int = -1
) -> list[tuple[int, Found]]:
    """What is answered of a topic's partitions, in the order of the partitions."""
    topics = [{"name": topic, "partitions": list(entries)}]
    body = {"replica_id": replica_id, "isolation_level": isolation_level, "topics": topics, "timeout_ms": 10_000}
    (answered,) = asking.ask(LIST_OFFSETS, version, **body)["topics"]
    assert answered["name"] == topic
    return sorted(
        (one["partition_index"], Found(one["error_code"], one["timestamp"], one["offset"], one["leader_epoch"]))
        for one in answered["partitions"]
    )


def find(asking: Asking, topic: str, timestamp: int, *, version: int = NEWEST, isolation_level: int = 0) -> Found:
    """What is answered of partition 0."""
    ((_, found),) = ask(asking, topic, entry(timestamp), version=version, isolation_level=isolation_level)
    return found


@pytest.fixture
def filled(asking: Asking, topic: str) -> str:
    """Offsets 0 to 7 in four batches, one compressed; the largest timestamp is that of 3, 5 and 7."""
    put(asking, topic, 0, 100, 200)
    put(asking, topic, 900, 300, 900, codec=GZIP)
    put(asking, topic, 500)
    put(asking, topic, 900)
    return topic


def test_each_special_time_is_answered_from_the_version_on_that_brought_it(asking: Asking, filled: str) -> None:
    refused = error(UNSUPPORTED_VERSION)
    for version in VERSIONS:
        found = {special: find(asking, filled, special, version=version) for special in range(-1, -8, -1)}
        assert found == {
            LATEST: at(8, version=version),
            EARLIEST: at(0, version=version),
            MAX_TIMESTAMP: at(3, T + 900) if version >= 7 else refused,
            EARLIEST_LOCAL: at(0) if version >= 8 else refused,
            LATEST_TIERED: NOWHERE if version >= 9 else refused,
            -6: refused,
            -7: refused,
        }, version


def test_a_time_finds_the_first_record_that_is_not_older(asking: Asking, filled: str) -> None:
    times = (0, T, T + 150, T + 250, T + 900, T + 901)
    for version in VERSIONS:
        assert [find(asking, filled, time, version=version) for time in times] == [
            at(0, T, version=version),
            at(0, T, version=version),
            at(2, T + 200, version=version),
            at(3, T + 900, version=version),
            at(3, T + 900, version=version),
            NOWHERE,
        ], version


def test_an_empty_partition_has_ends_and_no_times(asking: Asking, topic: str) -> None:
    assert [find(asking, topic, time) for time in (LATEST, EARLIEST, EARLIEST_LOCAL)] == [at(0)] * 3
    assert [find(asking, topic, time) for time in (MAX_TIMESTAMP, LATEST_TIERED, 0, T)] == [NOWHERE] * 4


def test_the_largest_time_within_a_compressed_batch_names_its_record(asking: Asking, topic: str) -> None:
    put(asking, topic, 5)
    put(asking, topic, 10, 30, 20, 30, codec=GZIP)
    assert find(asking, topic, MAX_TIMESTAMP) == at(2, T + 30)


def test_where_the_broker_dates_records_a_batch_is_found_by_its_first_one(
    broker: Broker, asking: Asking, topic_name: str
) -> None:
    create_topic(broker, topic_name, message_timestamp_type="LogAppendTime")
    put(asking, topic_name, 0, 100, 200)
    found = find(asking, topic_name, MAX_TIMESTAMP)
    assert found.timestamp > T + 200
    assert found == at(0, found.timestamp)
    assert find(asking, topic_name, found.timestamp) == found
    assert find(asking, topic_name, T + 100) == found
    assert find(asking, topic_name, found.timestamp + 1) == NOWHERE


@pytest.mark.parametrize("version", [2, 4, NEWEST])
def test_read_committed_finds_nothing_behind_an_open_transaction(asking: Asking, topic: str, version: int) -> None:
    put(asking, topic, 0, 10)
    transaction = Transactor(asking, topic).begin()
    transaction.add(topic, 0)
    assert transaction.produce(topic, [b"a", b"b"], timestamp_ms=T + 50) == (NONE, 2)
    put(asking, topic, 60)
    times = [LATEST, EARLIEST, T + 10, T + 11, T + 55] + [MAX_TIMESTAMP, EARLIEST_LOCAL] * (version == NEWEST)

    def found(isolation_level: int) -> list[tuple[int, int]]:
        answers = [find(asking, topic, time, version=version, isolation_level=isolation_level) for time in times]
        assert {one.error for one in answers} == {NONE}
        return [(one.offset, one.timestamp) for one in answers]

    new = version == NEWEST
    everything = [(5, -1), (0, -1), (1, T + 10), (2, T + 50), (4, T + 60)] + [(4, T + 60), (0, -1)] * new
    assert found(READ_UNCOMMITTED) == everything
    decided = [(2, -1), (0, -1), (1, T + 10), (-1, -1), (-1, -1)] + [(-1, -1), (0, -1)] * new
    assert found(READ_COMMITTED) == decided
    transaction.finish(commit=True)
    committed = found(READ_COMMITTED)
    assert committed[:5] == [(6, -1), *everything[1:5]]
    if new:
        offset, timestamp = committed[5]
        assert offset == 5
        assert timestamp > T + 60, "the marker's time counts too"


@pytest.mark.parametrize("version", [2, NEWEST])
def test_an_isolation_level_that_there_is_not_is_an_error(asking: Asking, filled: str, version: int) -> None:
    found = [find(asking, filled, time, version=version, isolation_level=2) for time in (LATEST, EARLIEST, T)]
    assert found == [error(UNKNOWN_SERVER_ERROR)] * 3


@pytest.mark.parametrize("version", [4, NEWEST])
def test_the_leaders_epoch_is_checked_where_it_is_given(asking: Asking, filled: str, version: int) -> None:
    found = {epoch: ask(asking, filled, entry(LATEST, epoch=epoch), version=version) for epoch in (-1, 0, 1, -2)}
    assert found == {
        -1: [(0, at(8))],
        0: [(0, at(8))],
        1: [(0, error(UNKNOWN_LEADER_EPOCH))],
        -2: [(0, error(FENCED_LEADER_EPOCH))],
    }


def test_whoever_asks_is_answered_the_same(asking: Asking, filled: str) -> None:
    for replica_id in (-3, -2, -1, 0, 1, 7):
        assert ask(asking, filled, entry(LATEST), replica_id=replica_id) == [(0, at(8))]
        assert ask(asking, filled, entry(MAX_TIMESTAMP), replica_id=replica_id) == [(0, at(3, T + 900))]


@pytest.mark.parametrize("version", [1, NEWEST])
def test_a_partition_asked_for_twice_is_answered_once_and_refused(
    asking: Asking, topic_of_3: str, version: int
) -> None:
    entries = [entry(LATEST), entry(EARLIEST), entry(LATEST, partition=1)]
    answered = ask(asking, topic_of_3, *entries, version=version)
    assert answered == [(0, error(INVALID_REQUEST)), (1, at(0, version=version))]


@pytest.mark.parametrize("version", [1, NEWEST])
def test_what_does_not_exist_is_said_partition_by_partition(asking: Asking, filled: str, version: int) -> None:
    unknown = error(UNKNOWN_TOPIC_OR_PARTITION)
    entries = [entry(LATEST, partition=9), entry(LATEST), entry(LATEST, partition=-1)]
    assert ask(asking, filled, *entries, version=version) == [(-1, unknown), (0, at(8, version=version)), (9, unknown)]
    for nothing in (f"{filled}-not", "no topic's name", ""):
        assert ask(asking, nothing, entry(LATEST), version=version) == [(0, unknown)]
        assert ask(asking, nothing, entry(LATEST), entry(EARLIEST), version=version) == [(0, error(INVALID_REQUEST))]
