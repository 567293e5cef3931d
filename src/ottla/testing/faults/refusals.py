"""Answers that refuse: the broker never sees the request, or its answer is changed where it only read.

What writes must not be forwarded: a record that is appended *and* refused is not what a broker does. So the refusals of
requests that change something are made here, from the request; of the others, the broker's answer is taken and its
error codes are set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ottla.broker.wire.schema import Message, parse_table
from ottla.testing.faults.frames import apis, key_of

READING = frozenset(
    map(
        key_of,
        (
            "ConsumerGroupDescribe",
            "DescribeCluster",
            "DescribeConfigs",
            "DescribeGroups",
            "DescribeLogDirs",
            "DescribeProducers",
            "DescribeTopicPartitions",
            "DescribeTransactions",
            "Fetch",
            "FindCoordinator",
            "ListGroups",
            "ListOffsets",
            "Metadata",
            "OffsetFetch",
            "OffsetForLeaderEpoch",
        ),
    )
)
"""Requests whose answer is taken from the broker and then changed."""


def can_refuse(key: int) -> bool:
    """Whether there is an answer to this API that refuses all that it was asked for."""
    api = apis()[key]
    whole = any(one.name == "error_code" and one.present(api.versions[0]) for one in parse_table(api.response))
    return whole or key in READING or key in _NESTED


def refusal(key: int, request: Message, code: int) -> Message:
    """The answer to `request` that says `code` of everything it asked for."""
    make = _NESTED.get(key)
    return {"error_code": code} if make is None else make(request, code)


def spoil(answer: Any, code: int) -> bool:
    """Sets the error codes in an answer, and takes the records out of it.

    Where parts of it have codes, the whole has none: so do brokers. Returns whether it set any.
    """
    if isinstance(answer, list | tuple):
        return any([spoil(one, code) for one in answer])  # noqa: C419  # all of them, not up to the first
    if not isinstance(answer, dict):
        return False
    inner = any([spoil(value, code) for value in answer.values()])  # noqa: C419
    if "records" in answer:
        answer["records"] = b""
    if "error_code" in answer and not inner:
        answer["error_code"] = code
        return True
    return inner


def _produce(request: Message, code: int) -> Message:
    return {
        "responses": [
            {
                "name": topic.get("name"),
                "topic_id": topic.get("topic_id"),
                "partition_responses": [
                    {"index": one["index"], "error_code": code, "base_offset": -1} for one in topic["partition_data"]
                ],
            }
            for topic in request["topic_data"]
        ]
    }


def _topics(request: Message, code: int) -> Message:
    """OffsetCommit and TxnOffsetCommit."""
    return {
        "topics": [
            {
                "name": topic.get("name"),
                "topic_id": topic.get("topic_id"),
                "partitions": [
                    {"partition_index": one["partition_index"], "error_code": code} for one in topic["partitions"]
                ],
            }
            for topic in request["topics"]
        ]
    }


def _create_topics(request: Message, code: int) -> Message:
    return {"topics": [{"name": topic["name"], "error_code": code} for topic in request["topics"]]}


def _add_partitions(request: Message, code: int) -> Message:
    def results(topics: Any) -> list[Message]:
        return [
            {
                "name": topic["name"],
                "results_by_partition": [
                    {"partition_index": index, "partition_error_code": code} for index in topic["partitions"]
                ],
            }
            for topic in topics
        ]

    return {
        "results_by_topic": results(request.get("topics") or ()),
        "results_by_transaction": [
            {"transactional_id": one["transactional_id"], "topic_results": results(one["topics"])}
            for one in request.get("transactions") or ()
        ],
    }


_NESTED: dict[int, Callable[[Message, int], Message]] = {
    key_of("Produce"): _produce,
    key_of("OffsetCommit"): _topics,
    key_of("TxnOffsetCommit"): _topics,
    key_of("CreateTopics"): _create_topics,
    key_of("AddPartitionsToTxn"): _add_partitions,
}
