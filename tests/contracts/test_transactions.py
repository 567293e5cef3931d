"""Contract: the state machine of a transactional id, request by request, with its errors, in old and new versions."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ottla.broker.wire.messages.add_partitions_to_txn import ADD_PARTITIONS_TO_TXN
from ottla.broker.wire.messages.api_versions import API_VERSIONS
from ottla.broker.wire.messages.list_transactions import LIST_TRANSACTIONS
from ottla.broker.wire.messages.write_txn_markers import WRITE_TXN_MARKERS
from ottla.testing import Broker
from tests.contracts.asking import Asking
from tests.contracts.clients import create_topic, wait_until
from tests.contracts.transactor import (
    CONCURRENT,
    FENCED,
    INVALID_EPOCH,
    INVALID_PRODUCER_ID_MAPPING,
    INVALID_TXN_STATE,
    NONE,
    READ_UNCOMMITTED,
    Transactor,
    committed,
    fetch,
    producers,
)

UNKNOWN_TOPIC, INVALID_REQUEST, INVALID_TIMEOUT = 3, 42, 50
OUT_OF_ORDER, COORDINATOR_FENCED, NOT_AUTHORIZED, NOT_ATTEMPTED = 45, 52, 53, 55
NOT_FOUND, ABORTABLE, INVALID_REGEX = 105, 120, 128
UNSTABLE = 88


@pytest.fixture
def asking(broker: Broker) -> Iterator[Asking]:
    with Asking(broker) as opened:
        yield opened


@pytest.fixture
def one(asking: Asking, topic_name: str) -> Transactor:
    """A transactional id that nobody has used, not begun."""
    return Transactor(asking, f"x-{topic_name}")


# --- InitProducerId ---


@pytest.mark.parametrize("version", range(6))
def test_a_new_transactional_id_begins_at_epoch_0(one: Transactor, version: int) -> None:
    assert one.begin(version).epoch == 0
    assert one.describe()["transaction_state"] == "Empty"


def test_each_init_gives_the_next_epoch_of_the_same_producer_id(one: Transactor) -> None:
    first = one.begin().producer_id
    assert [one.initialise()[:3] for _ in range(2)] == [(NONE, first, 1), (NONE, first, 2)]


def test_an_empty_transactional_id_is_invalid(asking: Asking) -> None:
    assert Transactor(asking, "").initialise() == (INVALID_REQUEST, -1, -1)


@pytest.mark.parametrize("timeout_ms", [-1, 0, 900_001])
def test_a_timeout_must_be_between_nothing_and_the_brokers_maximum(one: Transactor, timeout_ms: int) -> None:
    one.begin()
    assert one.initialise(timeout_ms=timeout_ms) == (INVALID_TIMEOUT, -1, -1)


@pytest.mark.parametrize(("producer_id", "epoch"), [(5, -1), (-1, 5)])
def test_producer_id_and_epoch_come_together(one: Transactor, producer_id: int, epoch: int) -> None:
    one.begin()
    assert one.initialise(producer_id=producer_id, epoch=epoch)[0] == INVALID_REQUEST


def test_a_producer_goes_on_with_its_own_epoch_and_may_ask_twice(one: Transactor) -> None:
    one.begin()
    once = one.initialise(producer_id=one.producer_id, epoch=0)
    again = one.initialise(producer_id=one.producer_id, epoch=0)
    assert (once, again) == ((NONE, one.producer_id, 1), (NONE, one.producer_id, 1))


@pytest.mark.parametrize(("version", "code"), [(3, INVALID_EPOCH), (4, FENCED)])
def test_a_producer_with_an_outdated_epoch_is_fenced(one: Transactor, version: int, code: int) -> None:
    one.begin()
    one.begin()
    assert one.initialise(version, producer_id=one.producer_id, epoch=7)[0] == code
    assert one.initialise(version, producer_id=one.producer_id, epoch=0)[0] == code
    assert one.initialise(version, producer_id=one.producer_id + 1000, epoch=one.epoch)[0] == code


def test_a_second_producer_aborts_the_first_ones_transaction_and_fences_it(one: Transactor, topic: str) -> None:
    one.begin()
    one.add(topic, 0)
    one.produce(topic)
    second = Transactor(one.asking, one.id)
    assert second.initialise() == (CONCURRENT, -1, -1)
    second.begin()
    assert (second.producer_id, second.epoch) == (one.producer_id, 2)
    assert fetch(one.asking, topic).batches == [(0, "data"), (1, "abort")]
    assert one.produce(topic)[0] == INVALID_EPOCH
    assert one.produce(topic, version=11)[0] == INVALID_EPOCH
    assert one.add(topic, 0) == [FENCED]
    assert one.end(commit=True)[0] == FENCED


# --- AddPartitionsToTxn ---


@pytest.mark.parametrize("version", range(4))
def test_partitions_are_added_and_shown(one: Transactor, topic_of_3: str, version: int) -> None:
    one.begin()
    assert one.add(topic_of_3, 0, 2, version=version) == [NONE, NONE]
    assert one.add(topic_of_3, 2, version=version) == [NONE]
    state = one.describe()
    assert state["transaction_state"] == "Ongoing"
    assert [(found["topic"], sorted(found["partitions"])) for found in state["topics"]] == [(topic_of_3, [0, 2])]


@pytest.mark.parametrize(("version", "code"), [(0, INVALID_EPOCH), (1, INVALID_EPOCH), (2, FENCED), (3, FENCED)])
def test_partitions_are_added_at_the_current_epoch_only(one: Transactor, topic: str, version: int, code: int) -> None:
    one.begin()
    assert one.add(topic, 0, version=version, producer_epoch=one.epoch + 1) == [code]


def test_partitions_are_added_by_the_owner_of_the_transactional_id_only(one: Transactor, topic: str) -> None:
    one.begin()
    assert one.add(topic, 0, producer_id=one.producer_id + 1000) == [INVALID_PRODUCER_ID_MAPPING]
    assert one.add(topic, 0, transactional_id=f"{one.id}-unknown") == [INVALID_PRODUCER_ID_MAPPING]
    assert one.add(topic, 0, transactional_id="") == [INVALID_REQUEST]


def test_with_an_unknown_partition_none_is_added(one: Transactor, topic: str) -> None:
    one.begin()
    assert one.add(topic, 0, 9) == [NOT_ATTEMPTED, UNKNOWN_TOPIC]
    assert one.add(f"{topic}-unknown", 0) == [UNKNOWN_TOPIC]
    assert one.describe()["transaction_state"] == "Empty"


@pytest.mark.parametrize("version", [4, 5])
def test_brokers_add_and_verify_partitions_of_several_transactions(
    one: Transactor, topic_of_3: str, version: int
) -> None:
    one.begin()
    one.add(topic_of_3, 0)

    def wanted(transactional_id: str, *partitions: int, verify: bool) -> dict[str, object]:
        return {
            "transactional_id": transactional_id,
            "producer_id": one.producer_id,
            "producer_epoch": one.epoch,
            "verify_only": verify,
            "topics": [{"name": topic_of_3, "partitions": list(partitions)}],
        }

    unknown = f"{one.id}-unknown"
    answer = one.asking.ask(
        ADD_PARTITIONS_TO_TXN,
        version,
        transactions=[wanted(one.id, 0, 1, verify=True), wanted(unknown, 1, verify=False), wanted("", 1, verify=False)],
    )
    codes = {
        result["transactional_id"]: {
            part["partition_index"]: part["partition_error_code"]
            for of_topic in result["topic_results"]
            for part in of_topic["results_by_partition"]
        }
        for result in answer["results_by_transaction"]
    }
    assert codes == {
        one.id: {0: NONE, 1: ABORTABLE},
        unknown: {1: INVALID_PRODUCER_ID_MAPPING},
        "": {1: INVALID_REQUEST},
    }


# --- Produce ---


@pytest.mark.parametrize(("version", "code"), [(7, INVALID_TXN_STATE), (10, INVALID_TXN_STATE), (11, ABORTABLE)])
def test_a_batch_for_a_partition_that_was_not_added_is_refused(
    one: Transactor, topic: str, version: int, code: int
) -> None:
    one.begin()
    assert one.produce(topic, version=version) == (code, -1)


@pytest.mark.parametrize("version", [9, 12])
def test_a_transactional_batch_needs_the_transactional_id_it_belongs_to(
    one: Transactor, topic: str, version: int
) -> None:
    one.begin()
    one.add(topic, 0)
    assert one.produce(topic, version=version, transactional_id=None)[0] == NOT_AUTHORIZED
    unknown = one.produce(topic, version=version, transactional_id=f"{one.id}-unknown")
    assert unknown[0] == INVALID_PRODUCER_ID_MAPPING
    assert one.produce(topic, version=version, producer_id=one.producer_id + 1000)[0] == INVALID_PRODUCER_ID_MAPPING


@pytest.mark.parametrize("version", [9, 12])
@pytest.mark.parametrize("step", [1, -1])
def test_a_transactional_batch_of_another_epoch_is_refused(
    one: Transactor, topic: str, version: int, step: int
) -> None:
    one.begin()
    one.begin()
    one.add(topic, 0)
    assert one.produce(topic, version=version, epoch=one.epoch + step)[0] == INVALID_EPOCH


def test_within_its_transaction_a_producer_writes_nothing_else_to_the_partition(one: Transactor, topic: str) -> None:
    one.begin()
    one.add(topic, 0)
    assert one.produce(topic)[0] == NONE
    assert one.produce(topic, transactional=False)[0] == INVALID_TXN_STATE


def test_a_repeated_transactional_batch_is_not_appended(one: Transactor, topic: str) -> None:
    one.begin()
    one.add(topic, 0)
    assert one.produce(topic, [b"a", b"b"], sequence=0) == (NONE, 0)
    assert one.produce(topic, [b"a", b"b"], sequence=0) == (NONE, 0)
    assert one.produce(topic, sequence=5)[0] == OUT_OF_ORDER
    assert fetch(one.asking, topic).high_watermark == 2


def test_from_version_12_on_a_batch_adds_its_partition(one: Transactor, topic_of_3: str) -> None:
    one.begin(5)
    assert one.produce(topic_of_3, version=12, partition=1) == (NONE, 0)
    assert one.produce(topic_of_3, version=12, partition=2) == (NONE, 0)
    assert [sorted(found["partitions"]) for found in one.describe()["topics"]] == [[1, 2]]
    one.finish(commit=True, version=5)
    assert [fetch(one.asking, topic_of_3, partition=n).last_stable_offset for n in range(3)] == [0, 2, 2]


def test_from_version_12_on_a_producer_begins_at_sequence_0(one: Transactor, topic: str) -> None:
    one.begin(5)
    assert one.produce(topic, version=12, sequence=3)[0] == OUT_OF_ORDER
    assert one.produce(topic, version=12, sequence=0) == (NONE, 0)


@pytest.mark.parametrize("first", [0, 3])
def test_what_was_refused_first_must_come_first(one: Transactor, topic: str, first: int) -> None:
    one.begin()
    assert one.produce(topic, sequence=first)[0] == INVALID_TXN_STATE, "the partition is not added"
    one.add(topic, 0)
    assert one.produce(topic, sequence=first + 1)[0] == OUT_OF_ORDER
    assert one.produce(topic, sequence=first) == (NONE, 0)
    assert one.produce(topic, sequence=first + 1) == (NONE, 1)
    one.finish(commit=True)
    one.add(topic, 0)
    assert one.produce(topic, sequence=first + 2) == (NONE, 3)


# --- EndTxn up to version 4 ---


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
@pytest.mark.parametrize("version", range(5))
def test_a_transaction_ends_with_a_marker_in_each_partition(
    one: Transactor, topic_of_3: str, version: int, commit: bool
) -> None:
    one.begin()
    one.add(topic_of_3, 0, 1)
    one.produce(topic_of_3, [b"a", b"b"])
    one.finish(commit=commit, version=version)
    marker = "commit" if commit else "abort"
    assert fetch(one.asking, topic_of_3).batches == [(0, "data"), (2, marker)]
    assert fetch(one.asking, topic_of_3, partition=1).batches == [(0, marker)]
    assert fetch(one.asking, topic_of_3, partition=2).batches == []


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
def test_a_repeated_end_is_answered_as_the_first_one_and_the_other_end_is_refused(
    one: Transactor, topic: str, commit: bool
) -> None:
    one.begin()
    one.add(topic, 0)
    one.finish(commit=commit)
    assert one.end(commit=commit)[0] == NONE
    assert one.end(commit=not commit)[0] == INVALID_TXN_STATE
    assert fetch(one.asking, topic).high_watermark == 1


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
def test_without_a_transaction_nothing_ends(one: Transactor, commit: bool) -> None:
    one.begin()
    assert one.end(commit=commit)[0] == INVALID_TXN_STATE


@pytest.mark.parametrize(("version", "code"), [(0, INVALID_EPOCH), (1, INVALID_EPOCH), (2, FENCED), (5, FENCED)])
def test_a_transaction_ends_at_its_epoch_only(one: Transactor, topic: str, version: int, code: int) -> None:
    one.begin()
    one.add(topic, 0)
    assert one.end(commit=True, version=version, producer_epoch=one.epoch + 1)[0] == code


@pytest.mark.parametrize("version", [3, 5])
def test_a_transaction_is_ended_by_the_owner_of_the_transactional_id_only(
    one: Transactor, topic: str, version: int
) -> None:
    one.begin()
    one.add(topic, 0)
    assert one.end(commit=True, version=version, producer_id=one.producer_id + 1000)[0] == INVALID_PRODUCER_ID_MAPPING
    unknown = one.end(commit=True, version=version, transactional_id=f"{one.id}-unknown")
    assert unknown[0] == INVALID_PRODUCER_ID_MAPPING
    assert one.end(commit=True, version=version, transactional_id="")[0] == INVALID_REQUEST


def test_sequences_go_on_over_transactions_of_one_epoch(one: Transactor, topic: str) -> None:
    one.begin()
    for _ in range(3):
        one.add(topic, 0)
        assert one.produce(topic, [b"a", b"b"])[0] == NONE
        one.finish(commit=True)
    assert [kind for _, kind in fetch(one.asking, topic).batches] == ["data", "commit"] * 3


def test_a_batch_after_the_end_needs_a_new_transaction(one: Transactor, topic: str) -> None:
    one.begin()
    one.add(topic, 0)
    one.produce(topic)
    one.finish(commit=True)
    assert one.produce(topic)[0] == INVALID_TXN_STATE


def test_the_next_transaction_of_the_same_epoch_must_not_use_sequences_again(one: Transactor, topic: str) -> None:
    one.begin()
    for commit in (False, True):
        one.add(topic, 0)
        # The second time it counts as the first one repeated, although that one was aborted.
        assert one.produce(topic, [b"a", b"b"], sequence=0) == (NONE, 0)
        one.finish(commit=commit)
    assert fetch(one.asking, topic).batches == [(0, "data"), (2, "abort"), (3, "commit")]


# --- EndTxn from version 5 on (KIP-890) ---


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
def test_each_end_gives_the_next_epoch(one: Transactor, topic: str, commit: bool) -> None:
    one.begin(5)
    for number in range(3):
        assert (one.epoch, one.produce(topic, version=12)[0]) == (number, NONE)
        one.finish(commit=commit, version=5)
    marker = "commit" if commit else "abort"
    assert [kind for _, kind in fetch(one.asking, topic).batches] == ["data", marker] * 3


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
def test_a_late_end_of_the_transaction_before_is_answered_and_ends_nothing(
    one: Transactor, topic: str, commit: bool
) -> None:
    one.begin(5)
    one.produce(topic, version=12)
    one.finish(commit=commit, version=5)
    late = {"producer_epoch": one.epoch - 1}
    assert one.end(commit=commit, version=5, **late) == (NONE, one.producer_id, one.epoch)
    assert one.end(commit=not commit, version=5, **late)[0] == INVALID_TXN_STATE
    one.produce(topic, version=12)
    assert one.end(commit=True, version=5, **late)[0] == FENCED
    assert one.describe()["transaction_state"] == "Ongoing"


def test_a_batch_of_the_transaction_before_does_not_get_into_the_next_one(one: Transactor, topic: str) -> None:
    one.begin(5)
    one.produce(topic, version=12)
    one.finish(commit=True, version=5)
    assert one.produce(topic, version=12, epoch=one.epoch - 1, sequence=1)[0] == INVALID_EPOCH


def test_without_a_transaction_an_abort_gives_a_new_epoch_and_a_commit_is_refused(one: Transactor) -> None:
    one.begin(5)
    assert one.end(commit=True, version=5)[0] == INVALID_TXN_STATE
    for epoch in (1, 2):
        one.finish(commit=False, version=5)
        assert one.epoch == epoch
    assert one.end(commit=True, version=5)[0] == INVALID_TXN_STATE


def test_an_old_end_after_a_new_one_is_fenced(one: Transactor, topic: str) -> None:
    one.begin(5)
    one.produce(topic, version=12)
    one.finish(commit=True, version=5)
    assert one.end(commit=True, version=3, producer_epoch=one.epoch - 1)[0] == FENCED


# --- time ---


def test_a_transaction_that_is_open_for_too_long_is_aborted_and_its_producer_fenced(
    one: Transactor, topic: str
) -> None:
    one.begin(timeout_ms=100)
    one.add(topic, 0)
    one.produce(topic)
    one.wait_for("CompleteAbort")
    assert one.describe()["producer_epoch"] == 1
    wait_until(lambda: fetch(one.asking, topic).batches == [(0, "data"), (1, "abort")], what="the marker")
    assert one.produce(topic)[0] == INVALID_EPOCH
    assert one.add(topic, 0) == [FENCED]
    assert one.end(commit=True)[0] == FENCED
    assert one.initialise(producer_id=one.producer_id, epoch=0)[::2] == (NONE, 1)


# --- the admin's view ---


def test_unknown_transactional_ids_are_not_found(asking: Asking, topic_name: str) -> None:
    Transactor(asking, f"{topic_name}-known").begin()
    assert Transactor(asking, f"{topic_name}-unknown").describe()["error_code"] == NOT_FOUND
    assert Transactor(asking, "").describe()["error_code"] == INVALID_REQUEST


def test_transactions_are_listed_by_state_producer_duration_and_pattern(one: Transactor, topic: str) -> None:
    one.begin()
    other = Transactor(one.asking, f"{one.id}.other").begin()
    one.add(topic, 0)

    def listed(version: int, states: tuple[str, ...] = (), ids: tuple[int, ...] = (), **more: object) -> set[str]:
        answer = one.asking.ask(LIST_TRANSACTIONS, version, state_filters=states, producer_id_filters=ids, **more)
        assert answer["error_code"] == NONE
        return {found["transactional_id"] for found in answer["transaction_states"]} & {one.id, other.id}

    assert listed(0) == {one.id, other.id}
    assert listed(0, ("Ongoing",)) == {one.id}
    assert listed(0, ("Empty", "Ongoing")) == {one.id, other.id}
    assert listed(0, (), (other.producer_id,)) == {other.id}
    assert one.id not in listed(1, duration_filter=60_000)
    time.sleep(0.002)
    assert one.id in listed(1, ("Ongoing",), duration_filter=1)
    assert listed(2, transactional_id_pattern=f"{one.id}.+") == {other.id}
    assert listed(2, transactional_id_pattern=one.id[:-3]) == set()


def test_filters_that_make_no_sense_are_named(one: Transactor) -> None:
    one.begin()
    answer = one.asking.ask(LIST_TRANSACTIONS, 0, state_filters=["Ongoing", "Ended"], producer_id_filters=[])
    assert answer["unknown_state_filters"] == ["Ended"]
    broken = one.asking.ask(
        LIST_TRANSACTIONS, 2, state_filters=[], producer_id_filters=[], transactional_id_pattern="("
    )
    assert broken["error_code"] == INVALID_REGEX


def test_the_producers_of_a_partition_are_described(one: Transactor, topic_of_3: str) -> None:
    one.begin()
    one.add(topic_of_3, 0)
    one.produce(topic_of_3, [b"a", b"b", b"c"])
    assert producers(one.asking, topic_of_3, 1) == []
    (open_,) = producers(one.asking, topic_of_3)
    one.finish(commit=True)
    (ended,) = producers(one.asking, topic_of_3)
    names = ("producer_id", "producer_epoch", "last_sequence", "coordinator_epoch", "current_txn_start_offset")
    assert [open_[name] for name in names] == [one.producer_id, 0, 2, -1, 0]
    assert [ended[name] for name in names] == [one.producer_id, 0, 2, 0, -1]
    assert abs(ended["last_timestamp"] - time.time() * 1000) < 60_000


def test_markers_written_by_hand_end_what_is_open_and_fence_older_ones(one: Transactor, topic: str) -> None:
    one.begin()
    one.begin()
    one.add(topic, 0)
    one.produce(topic)

    def write(
        version: int = 1, *, epoch: int = one.epoch, partition: int = 0, coordinator: int = 0, tv: int = 0
    ) -> int:
        marker = {
            "producer_id": one.producer_id,
            "producer_epoch": epoch,
            "transaction_result": False,
            "topics": [{"name": topic, "partition_indexes": [partition]}],
            "coordinator_epoch": coordinator,
            "transaction_version": tv,
        }
        answer = one.asking.ask(WRITE_TXN_MARKERS, version, markers=[marker])["markers"][0]
        code: int = answer["topics"][0]["partitions"][0]["error_code"]
        return code

    assert write(partition=7) == UNKNOWN_TOPIC
    assert write(epoch=one.epoch - 1) == INVALID_EPOCH
    assert write(2, tv=2) == INVALID_EPOCH
    assert fetch(one.asking, topic).last_stable_offset == 0
    assert write(coordinator=5) == NONE
    assert fetch(one.asking, topic).aborted == [(one.producer_id, 0)]
    assert write(coordinator=4) == COORDINATOR_FENCED
    assert write(2, epoch=one.epoch + 1, coordinator=5, tv=2) == NONE
    assert fetch(one.asking, topic, isolation_level=READ_UNCOMMITTED).batches == [
        (0, "data"),
        (1, "abort"),
        (2, "abort"),
    ]


def test_transaction_version_2_is_advertised(asking: Asking) -> None:
    answer = asking.ask(API_VERSIONS, 4, client_software_name="test", client_software_version="1")
    supported = {one["name"]: (one["min_version"], one["max_version"]) for one in answer["supported_features"]}
    finalized = {one["name"]: one["max_version_level"] for one in answer["finalized_features"]}
    assert (supported["transaction.version"], finalized["transaction.version"]) == ((0, 2), 2)
    assert answer["finalized_features_epoch"] >= 0


# --- after a crash ---


def test_transactions_with_their_offsets_go_on_after_a_kill(
    killable_broker: Broker, topic_name: str, group_name: str
) -> None:
    create_topic(killable_broker, topic_name, 2)
    with Asking(killable_broker) as before:
        done = Transactor(before, f"done-{topic_name}").begin()
        done.add(topic_name, 0)
        done.produce(topic_name)
        done.finish(commit=False)
        open_ = Transactor(before, f"open-{topic_name}").begin(5)
        open_.produce(topic_name, version=12)
        open_.produce(topic_name, version=12, partition=1)
        assert open_.commit_offset(group_name, topic_name, 7, version=5) == NONE
    killable_broker.kill()
    killable_broker.start()
    with Asking(killable_broker) as after:
        done.asking = open_.asking = after
        # Apache Kafka serves it for a moment before it knows again how far it was.
        found = wait_until(
            lambda: (seen := fetch(after, topic_name)).high_watermark == 3 and seen, what="the partition is served"
        )
        assert (found.error, found.last_stable_offset) == (NONE, 2)
        assert found.aborted == [(done.producer_id, 0)]
        assert committed(after, group_name, topic_name) == (UNSTABLE, -1)
        wait_until(lambda: open_.describe()["error_code"] == NONE, what="the coordinator is loaded")
        assert open_.describe()["transaction_state"] == "Ongoing"
        assert open_.produce(topic_name, version=12) == (NONE, 3)
        open_.finish(commit=True, version=5)
        assert [fetch(after, topic_name, partition=n).last_stable_offset for n in range(2)] == [5, 2]
        wait_until(lambda: committed(after, group_name, topic_name) == (NONE, 7), what="the offset is stable")
        assert done.begin().epoch == 1
