"""AlterPartitionReassignments (45), versions 0 to 1: moves partitions to other nodes, or (replicas null) stops a move.

There is one node, which holds everything: to move a partition there is done as soon as it is asked. A move anywhere
else is INVALID_REPLICA_ASSIGNMENT; there is never one to stop (NO_REASSIGNMENT_IN_PROGRESS).
"""

from __future__ import annotations

from collections import Counter

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.alter_partition_reassignments import ALTER_PARTITION_REASSIGNMENTS
from ottla.broker.wire.schema import Message

API = ALTER_PARTITION_REASSIGNMENTS


def handle(broker: Broker, call: Call) -> Message:
    responses = [
        {"name": topic["name"], "partitions": [_answer(broker, topic["name"], part) for part in topic["partitions"]]}
        for topic in call.body["topics"]
    ]
    return {
        "allow_replication_factor_change": call.body["allow_replication_factor_change"],
        "responses": responses,
    }


def _answer(broker: Broker, name: str, part: Message) -> Message:
    index = part["partition_index"]
    code, message = _outcome(broker, name, index, part["replicas"])
    return {"partition_index": index, "error_code": code, "error_message": message}


def _outcome(broker: Broker, name: str, index: int, replicas: list[int] | None) -> tuple[ErrorCode, str | None]:
    topic = broker.catalog.topics.get(name)
    if topic is None:
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find a topic named {name}."
    if topic.partition(index) is None:
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find partition {name}:{index}."
    if replicas is None:
        return ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, None
    fault = _assignment_fault(replicas, broker.config.node_id)
    return (ErrorCode.INVALID_REPLICA_ASSIGNMENT, fault) if fault else (ErrorCode.NONE, None)


def _assignment_fault(replicas: list[int], node: int) -> str | None:
    if not replicas:
        return "The manual partition assignment includes an empty replica list."
    for replica, count in sorted(Counter(replicas).items()):
        if count > 1:
            return f"The manual partition assignment includes the broker {replica} more than once."
        if replica != node:
            return f"The manual partition assignment includes broker {replica}, but no such broker is registered."
    return None
