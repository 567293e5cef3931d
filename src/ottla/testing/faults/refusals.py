"""Answers that refuse: the broker never sees the request, or its answer is changed where it only read.

What writes must not be forwarded: a record that is appended *and* refused is not what a broker does. So the refusals of
requests that change something are made here, from the request; of the others, the broker's answer is taken and its
error codes are set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ottla.broker.wire.schema import Message
from ottla.testing.faults.frames import key_of

READING = frozenset(
    map(key_of, ("Fetch", "ListOffsets", "Metadata", "OffsetFetch", "FindCoordinator", "DescribeCluster", "ListGroups"))
)
"""Requests whose answer is taken from the broker and then changed."""


def refusal(key: int, request: Message, code: int) -> Message:
    """The answer to `request` that says `code` of everything it asked for."""
    make = _NESTED.get(key)
    return {"error_code": code} if make is None else make(request, code)


def spoil(answer: Any, code: int) -> None:
    """Sets every error code in an answer, and takes the records out of it."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            if name == "error_code":
                answer[name] = code
            elif name == "records":
                answer[name] = b""
            else:
                spoil(value, code)
    elif isinstance(answer, list | tuple):
        for one in answer:
            spoil(one, code)


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
