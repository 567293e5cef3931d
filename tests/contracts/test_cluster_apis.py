"""Contract: elections, reassignments, log folders and the quorum, as one node answers them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.alter_partition_reassignments import ALTER_PARTITION_REASSIGNMENTS
from ottla.broker.wire.messages.describe_log_dirs import DESCRIBE_LOG_DIRS
from ottla.broker.wire.messages.describe_quorum import DESCRIBE_QUORUM
from ottla.broker.wire.messages.describe_topic_partitions import DESCRIBE_TOPIC_PARTITIONS
from ottla.broker.wire.messages.elect_leaders import ELECT_LEADERS
from ottla.broker.wire.messages.list_partition_reassignments import LIST_PARTITION_REASSIGNMENTS
from ottla.broker.wire.schema import Message
from ottla.testing import Broker
from tests.contracts.asking import Asking
from tests.contracts.clients import create_topic, produce

UNKNOWN, OK = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.NONE


@pytest.fixture
def asking(broker: Broker) -> Iterator[Asking]:
    with Asking(broker) as connection:
        yield connection


# --- elections ---


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_partition_with_its_leader_in_place_needs_no_election(asking: Asking, topic: str, version: int) -> None:
    wanted = [{"topic": topic, "partitions": [0, 7]}, {"topic": f"no-{topic}", "partitions": [0]}]
    answer = asking.ask(ELECT_LEADERS, version, election_type=0, topic_partitions=wanted)
    assert answer["error_code"] == OK
    assert results(answer) == {
        (topic, 0): (ErrorCode.ELECTION_NOT_NEEDED, "Leader election not needed for topic partition."),
        (topic, 7): (UNKNOWN, f"No such partition as {topic}-7"),
        (f"no-{topic}", 0): (UNKNOWN, f"No such topic as no-{topic}"),
    }


def test_an_unclean_election_is_not_needed_either(asking: Asking, topic: str) -> None:
    answer = asking.ask(ELECT_LEADERS, 2, election_type=1, topic_partitions=[{"topic": topic, "partitions": [0]}])
    assert results(answer)[(topic, 0)][0] == ErrorCode.ELECTION_NOT_NEEDED


def test_an_unknown_kind_of_election_is_an_invalid_request(asking: Asking, topic: str) -> None:
    answer = asking.ask(ELECT_LEADERS, 2, election_type=7, topic_partitions=[{"topic": topic, "partitions": [0]}])
    assert answer["error_code"] == ErrorCode.INVALID_REQUEST
    assert results(answer) == {(topic, 0): (ErrorCode.INVALID_REQUEST, "Unknown election type 7")}


def test_an_election_for_all_lists_no_partition_that_needs_none(asking: Asking, topic: str) -> None:
    answer = asking.ask(ELECT_LEADERS, 2, election_type=0, topic_partitions=None)
    assert topic in {one["topic"] for one in answer["replica_election_results"]}
    assert results(answer) == {}


def results(answer: Message) -> dict[tuple[str, int], tuple[int, str | None]]:
    return {
        (one["topic"], part["partition_id"]): (part["error_code"], part["error_message"])
        for one in answer["replica_election_results"]
        for part in one["partition_result"]
    }


# --- reassignments ---


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    ("replicas", "code", "message"),
    [
        ([1], OK, None),
        (None, ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, None),
        ([], ErrorCode.INVALID_REPLICA_ASSIGNMENT, "The manual partition assignment includes an empty replica list."),
        (
            [1, 1],
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (
            [1, 2],
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes broker 2, but no such broker is registered.",
        ),
    ],
)
def test_a_partition_can_only_be_moved_to_where_it_is(
    asking: Asking, topic: str, version: int, replicas: list[int] | None, code: int, message: str | None
) -> None:
    assert reassign(asking, version, topic, 0, replicas) == (code, message)


def test_what_is_not_there_cannot_be_moved(asking: Asking, topic: str) -> None:
    assert reassign(asking, 1, topic, 5, [1]) == (UNKNOWN, f"Unable to find partition {topic}:5.")
    missing = f"no-{topic}"
    assert reassign(asking, 1, missing, 0, None) == (UNKNOWN, f"Unable to find a topic named {missing}.")


def test_no_move_is_under_way(asking: Asking, topic: str) -> None:
    for topics in (
        None,
        [{"name": topic, "partition_indexes": [0]}, {"name": f"no-{topic}", "partition_indexes": [0]}],
    ):
        answer = asking.ask(LIST_PARTITION_REASSIGNMENTS, 0, topics=topics)
        assert (answer["error_code"], answer["topics"]) == (OK, [])


def reassign(
    asking: Asking, version: int, topic: str, index: int, replicas: list[int] | None
) -> tuple[int, str | None]:
    wanted = [{"name": topic, "partitions": [{"partition_index": index, "replicas": replicas}]}]
    answer = asking.ask(ALTER_PARTITION_REASSIGNMENTS, version, topics=wanted)
    (one,) = answer["responses"]
    (part,) = one["partitions"]
    assert (answer["error_code"], one["name"], part["partition_index"]) == (OK, topic, index)
    return part["error_code"], part["error_message"]


# --- log folders ---


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_log_folders_tell_the_size_of_each_partition(
    asking: Asking, broker: Broker, topic_of_3: str, version: int
) -> None:
    produce(broker, topic_of_3, [b"v" * 100] * 20, partition=1)
    topics = [{"topic": topic_of_3, "partitions": [0, 1, 9]}, {"topic": f"no-{topic_of_3}", "partitions": [0]}]
    answer = asking.ask(DESCRIBE_LOG_DIRS, version, topics=topics)
    (folder,) = answer["results"]
    assert folder["error_code"] == OK
    assert str(broker.data_dir) in folder["log_dir"]
    (found,) = folder["topics"]
    assert found["name"] == topic_of_3
    parts = {part["partition_index"]: part for part in found["partitions"]}
    assert parts.keys() == {0, 1}
    assert parts[0]["partition_size"] == 0
    assert 2000 < parts[1]["partition_size"] < 4000
    assert all((part["offset_lag"], part["is_future_key"]) == (0, False) for part in parts.values())
    if version >= 4:
        assert folder["total_bytes"] >= folder["usable_bytes"] > 0


def test_log_folders_without_topics_named_tell_of_all_and_with_none_of_none(asking: Asking, topic: str) -> None:
    (everything,) = asking.ask(DESCRIBE_LOG_DIRS, 4, topics=None)["results"]
    assert topic in {one["name"] for one in everything["topics"]}
    (nothing,) = asking.ask(DESCRIBE_LOG_DIRS, 4, topics=[])["results"]
    assert nothing["topics"] == []


# --- topics page by page ---


def test_topics_are_described_page_by_page(asking: Asking, broker: Broker, topic_name: str) -> None:
    names = [create_topic(broker, f"{topic_name}-{letter}", 3) for letter in "abc"]
    seen: list[tuple[str, int]] = []
    cursor: Message | None = None
    pages = 0
    while pages == 0 or cursor is not None:
        topics = [{"name": name} for name in names]
        answer = asking.ask(DESCRIBE_TOPIC_PARTITIONS, 0, topics=topics, response_partition_limit=2, cursor=cursor)
        page = [(one["name"], part["partition_index"]) for one in answer["topics"] for part in one["partitions"]]
        assert len(page) <= 2
        seen += page
        cursor = answer["next_cursor"]
        pages += 1
    assert seen == [(name, index) for name in names for index in range(3)]


def test_an_unknown_topic_is_described_as_such(asking: Asking, topic_name: str) -> None:
    answer = asking.ask(DESCRIBE_TOPIC_PARTITIONS, 0, topics=[{"name": topic_name}], response_partition_limit=10)
    (one,) = answer["topics"]
    assert (one["name"], one["error_code"], one["partitions"]) == (topic_name, UNKNOWN, [])


# --- the quorum ---


@pytest.mark.parametrize("version", [0, 1, 2])
def test_the_one_node_is_its_own_quorum(asking: Asking, version: int) -> None:
    before = time.time_ns() // 1_000_000
    wanted = [{"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}]}]
    answer = asking.ask(DESCRIBE_QUORUM, version, topics=wanted)
    assert answer["error_code"] == OK
    (part,) = answer["topics"][0]["partitions"]
    assert (part["partition_index"], part["error_code"], part["leader_id"], part["observers"]) == (0, OK, 1, [])
    (voter,) = part["current_voters"]
    assert voter["replica_id"] == 1
    assert voter["log_end_offset"] >= part["high_watermark"] > 0
    if version >= 1:
        assert voter["last_caught_up_timestamp"] >= before - 1000
    if version >= 2:
        (node,) = answer["nodes"]
        assert node["node_id"] == 1
        assert [listener["name"] for listener in node["listeners"]] == ["CONTROLLER"]


@pytest.mark.parametrize(("name", "index"), [("__cluster_metadata", 1), ("other", 0)])
def test_nothing_else_has_a_quorum(asking: Asking, name: str, index: int) -> None:
    wanted = [{"topic_name": name, "partitions": [{"partition_index": index}]}]
    answer = asking.ask(DESCRIBE_QUORUM, 2, topics=wanted)
    (part,) = answer["topics"][0]["partitions"]
    assert (part["error_code"], part["current_voters"], answer["nodes"]) == (UNKNOWN, [], [])
