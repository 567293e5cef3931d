"""Contract: what readers see of transactions: read_committed, aborted lists, long polls, offsets held back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ottla.broker.wire.messages.offset_commit import OFFSET_COMMIT
from ottla.testing import Broker
from tests.contracts.asking import Asking
from tests.contracts.clients import consumer, produce, read, wait_until
from tests.contracts.transactor import (
    FENCED,
    INVALID_EPOCH,
    INVALID_PRODUCER_ID_MAPPING,
    INVALID_TXN_STATE,
    NONE,
    READ_UNCOMMITTED,
    Transactor,
    committed,
    fetch,
    list_offset,
    receive_fetch,
    send_fetch,
)

UNKNOWN_TOPIC, METADATA_TOO_LARGE, ILLEGAL_GENERATION, INVALID_GROUP, UNKNOWN_MEMBER = 3, 12, 22, 24, 25
UNSTABLE, ABORTABLE = 88, 120
LATEST, EARLIEST, MAX_TIMESTAMP = -1, -2, -3


@pytest.fixture
def asking(broker: Broker) -> Iterator[Asking]:
    with Asking(broker) as opened:
        yield opened


@pytest.fixture
def one(asking: Asking, topic_name: str) -> Transactor:
    return Transactor(asking, f"one-{topic_name}").begin()


@pytest.fixture
def other(asking: Asking, topic_name: str) -> Transactor:
    return Transactor(asking, f"other-{topic_name}").begin()


# --- Fetch ---


def test_what_is_open_is_seen_by_read_uncommitted_only(one: Transactor, topic: str) -> None:
    one.add(topic, 0)
    one.produce(topic, [b"a", b"b"])
    uncommitted = fetch(one.asking, topic, isolation_level=READ_UNCOMMITTED)
    assert (uncommitted.batches, uncommitted.aborted) == ([(0, "data")], None)
    assert (uncommitted.high_watermark, uncommitted.last_stable_offset) == (2, 0)
    seen = fetch(one.asking, topic)
    assert (seen.error, seen.batches, seen.aborted, seen.last_stable_offset) == (NONE, [], [], 0)


def test_read_committed_ends_where_the_first_open_transaction_begins(
    broker: Broker, one: Transactor, other: Transactor, topic: str
) -> None:
    produce(broker, topic, [b"before"])
    for transactor in (one, other):
        transactor.add(topic, 0)
        transactor.produce(topic)
    produce(broker, topic, [b"after"])
    assert fetch(one.asking, topic).batches == [(0, "data")]
    one.finish(commit=True)
    found = fetch(one.asking, topic)
    assert (found.batches, found.last_stable_offset) == ([(0, "data"), (1, "data")], 2)
    other.finish(commit=True)
    found = fetch(one.asking, topic)
    assert [kind for _, kind in found.batches] == ["data", "data", "data", "data", "commit", "commit"]
    assert found.last_stable_offset == found.high_watermark == 6


def test_aborted_transactions_are_named_where_they_overlap_what_is_read(
    one: Transactor, other: Transactor, topic: str
) -> None:
    one.add(topic, 0)
    one.produce(topic)  # 0
    other.add(topic, 0)
    other.produce(topic)  # 1
    one.finish(commit=False)  # 2
    other.finish(commit=False)  # 3
    one.add(topic, 0)
    one.produce(topic)  # 4
    one.finish(commit=True)  # 5
    first, second = (one.producer_id, 0), (other.producer_id, 1)
    aborted = [fetch(one.asking, topic, offset).aborted for offset in range(6)]
    assert aborted == [[first, second]] * 3 + [[second]] + [[]] * 2
    assert fetch(one.asking, topic, 6).aborted == []
    assert fetch(one.asking, topic, isolation_level=READ_UNCOMMITTED).aborted is None


def test_a_transaction_that_a_fetch_does_not_reach_may_be_left_out_but_its_own_is_not(
    one: Transactor, topic: str
) -> None:
    for _ in range(3):
        one.add(topic, 0)
        one.produce(topic, [b"x" * 10_000])
        one.finish(commit=False)
    found = fetch(one.asking, topic, 2, partition_max_bytes=1)
    assert found.batches == [(2, "data")]
    assert found.aborted
    assert (one.producer_id, 2) in found.aborted
    assert (one.producer_id, 0) not in found.aborted


def test_committed_reads_come_in_whole_batches_before_the_open_transaction(
    broker: Broker, one: Transactor, topic: str
) -> None:
    produce(broker, topic, [b"x" * 5_000] * 20, batch_size=5_500)
    one.add(topic, 0)
    one.produce(topic)
    seen: list[int] = []
    while True:
        found = fetch(one.asking, topic, len(seen), partition_max_bytes=17_000)
        if not found.batches:
            break
        seen += [base for base, _ in found.batches]
    assert seen == list(range(20))


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
def test_a_long_poll_for_committed_records_wakes_with_the_decision(
    broker: Broker, one: Transactor, topic: str, commit: bool
) -> None:
    one.add(topic, 0)
    with Asking(broker) as waiting:
        begun = time.monotonic()
        send_fetch(waiting, topic, 0, max_wait_ms=10_000)
        one.produce(topic)
        one.finish(commit=commit)
        found = receive_fetch(waiting)
    assert time.monotonic() - begun < 5
    assert found.batches == [(0, "data"), (1, "commit" if commit else "abort")]


def test_a_long_poll_for_committed_records_sleeps_through_what_is_open(
    broker: Broker, one: Transactor, topic: str
) -> None:
    one.add(topic, 0)
    with Asking(broker) as waiting:
        begun = time.monotonic()
        send_fetch(waiting, topic, 0, max_wait_ms=400)
        one.produce(topic)
        found = receive_fetch(waiting)
    assert time.monotonic() - begun >= 0.35
    assert found.batches == []


# --- ListOffsets ---


def test_the_end_for_committed_readers_is_the_last_stable_offset(broker: Broker, one: Transactor, topic: str) -> None:
    produce(broker, topic, [b"before"])
    one.add(topic, 0)
    one.produce(topic, [b"a", b"b"])
    assert list_offset(one.asking, topic, LATEST) == 1
    assert list_offset(one.asking, topic, LATEST, isolation_level=READ_UNCOMMITTED) == 3
    assert list_offset(one.asking, topic, EARLIEST) == 0
    one.finish(commit=True)
    assert list_offset(one.asking, topic, LATEST) == 4


def test_by_time_committed_readers_find_nothing_that_is_open(one: Transactor, topic: str) -> None:
    one.add(topic, 0)
    one.produce(topic)
    for timestamp in (1000, MAX_TIMESTAMP):
        assert list_offset(one.asking, topic, timestamp) == -1
        assert list_offset(one.asking, topic, timestamp, isolation_level=READ_UNCOMMITTED) == 0
    one.finish(commit=True)
    assert list_offset(one.asking, topic, 1000) == 0


# --- offsets ---


@pytest.mark.parametrize("version", range(5))
def test_offsets_of_a_transaction_count_once_it_is_committed(
    one: Transactor, topic: str, group_name: str, version: int
) -> None:
    assert one.add_offsets(group_name, version) == NONE
    assert one.commit_offset(group_name, topic, 7, version=version) == NONE
    assert committed(one.asking, group_name, topic) == (UNSTABLE, -1)
    assert committed(one.asking, group_name, topic, stable=False) == (NONE, -1)
    one.finish(commit=True)
    assert stable(one, group_name, topic) == 7


def stable(one: Transactor, group: str, topic: str) -> int:
    """The committed offset, once it is stable: Apache Kafka writes the markers after it has answered."""
    wait_until(lambda: committed(one.asking, group, topic)[0] != UNSTABLE, what="the offset is stable")
    error, offset = committed(one.asking, group, topic)
    assert error == NONE
    return offset


def test_offsets_of_an_aborted_transaction_never_count(one: Transactor, topic: str, group_name: str) -> None:
    one.add_offsets(group_name)
    one.commit_offset(group_name, topic, 7)
    one.finish(commit=True)
    assert stable(one, group_name, topic) == 7
    one.add_offsets(group_name)
    one.commit_offset(group_name, topic, 9)
    one.finish(commit=False)
    assert stable(one, group_name, topic) == 7


@pytest.mark.parametrize("version", [7, 9])
def test_the_last_of_several_offsets_counts(one: Transactor, topic: str, group_name: str, version: int) -> None:
    one.add_offsets(group_name)
    for offset in (3, 9, 5):
        assert one.commit_offset(group_name, topic, offset) == NONE
    one.finish(commit=True)
    assert stable(one, group_name, topic) == 5
    assert committed(one.asking, group_name, topic, version=version) == (NONE, 5)


def test_from_version_5_on_offsets_add_their_group(one: Transactor, topic: str, group_name: str) -> None:
    assert one.commit_offset(group_name, topic, 7, version=5) == NONE
    assert one.describe()["transaction_state"] == "Ongoing"
    one.finish(commit=True, version=5)
    assert stable(one, group_name, topic) == 7


@pytest.mark.parametrize(("version", "code"), [(0, INVALID_TXN_STATE), (3, INVALID_TXN_STATE), (4, ABORTABLE)])
def test_offsets_of_a_group_that_was_not_added_are_refused(
    one: Transactor, topic: str, group_name: str, version: int, code: int
) -> None:
    assert one.commit_offset(group_name, topic, 7, version=version) == code


@pytest.mark.parametrize(("version", "code"), [(0, INVALID_EPOCH), (1, INVALID_EPOCH), (2, FENCED), (4, FENCED)])
def test_a_group_is_added_at_the_current_epoch_only(one: Transactor, group_name: str, version: int, code: int) -> None:
    assert one.add_offsets(group_name, version, producer_epoch=one.epoch + 1) == code
    assert one.add_offsets(group_name, version, producer_id=one.producer_id + 1000) == INVALID_PRODUCER_ID_MAPPING


@pytest.mark.parametrize("version", [3, 5])
def test_offsets_are_committed_by_the_transactions_producer_only(
    one: Transactor, topic: str, group_name: str, version: int
) -> None:
    one.add_offsets(group_name)
    wrong_epoch = one.commit_offset(group_name, topic, 7, version=version, producer_epoch=one.epoch + 1)
    assert wrong_epoch == INVALID_EPOCH
    wrong_id = one.commit_offset(group_name, topic, 7, version=version, producer_id=one.producer_id + 1000)
    assert wrong_id == INVALID_PRODUCER_ID_MAPPING


def test_faulty_offsets_are_refused_one_by_one(one: Transactor, topic: str, group_name: str) -> None:
    one.add_offsets(group_name)
    assert one.commit_offset("", topic, 7) == INVALID_GROUP
    assert one.commit_offset(group_name, f"{topic}-unknown", 7) == UNKNOWN_TOPIC
    assert one.commit_offset(group_name, topic, 7, partition=9) == UNKNOWN_TOPIC
    assert one.commit_offset(group_name, topic, 7, metadata="x" * 5_000) == METADATA_TOO_LARGE


def test_members_of_the_group_are_fenced_by_their_generation(
    broker: Broker, one: Transactor, topic: str, group_name: str
) -> None:
    produce(broker, topic, [b"v"])
    one.add_offsets(group_name)
    assert one.commit_offset(group_name, topic, 1, generation_id=3, member_id="nobody") == ILLEGAL_GENERATION
    with consumer(broker, group_name) as client:
        client.subscribe([topic])
        read(client, 1)
        assert one.commit_offset(group_name, topic, 1, generation_id=1, member_id="nobody") == UNKNOWN_MEMBER
        member = client.memberid()
        assert one.commit_offset(group_name, topic, 1, generation_id=99, member_id=member) == ILLEGAL_GENERATION
        assert one.commit_offset(group_name, topic, 1, generation_id=1, member_id=member) == NONE


def test_what_the_group_commits_itself_counts_before_older_offsets_of_a_transaction(
    one: Transactor, topic: str, group_name: str
) -> None:
    one.add_offsets(group_name)
    one.commit_offset(group_name, topic, 7)
    part = {"partition_index": 0, "committed_offset": 100, "committed_metadata": ""}
    answer = one.asking.ask(
        OFFSET_COMMIT,
        7,
        group_id=group_name,
        generation_id_or_member_epoch=-1,
        member_id="",
        topics=[{"name": topic, "partitions": [part]}],
    )
    assert answer["topics"][0]["partitions"][0]["error_code"] == NONE
    assert committed(one.asking, group_name, topic) == (UNSTABLE, -1)
    one.finish(commit=True)
    assert stable(one, group_name, topic) == 100
