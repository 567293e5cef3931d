"""CreatePartitions (37), versions 0 to 3: adds partitions to a topic; `count` is the new total.

Errors: UNKNOWN_TOPIC_OR_PARTITION, INVALID_PARTITIONS (not more than now), POLICY_VIOLATION (more than
10,000 new ones), INVALID_REPLICA_ASSIGNMENT, THROTTLING_QUOTA_EXCEEDED (version 3).
"""

from __future__ import annotations

from collections.abc import Callable

from ottla.broker.api.topics import EXCESSIVE_PARTITIONS, PARTITIONS_PER_REQUEST_MAX
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.security.mutations import refusal
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.create_partitions import CREATE_PARTITIONS
from ottla.broker.wire.schema import Message

API = CREATE_PARTITIONS


def handle(broker: Broker, call: Call) -> None:
    refuses = broker.quotas.mutations(call)
    results = [_grow(broker, wanted, call.body["validate_only"], refuses) for wanted in call.body["topics"]]
    broker.durable(broker.catalog.journal, lambda: call.reply({"results": results}))


def _grow(broker: Broker, wanted: Message, validate_only: bool, refuses: Callable[[int], bool]) -> Message:
    name, count = wanted["name"], wanted["count"]
    answer: Message = {"name": name}
    topic = broker.catalog.topics.get(name)
    if topic is None:
        message = "This server does not host this topic-partition."
        return answer | {"error_code": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "error_message": message}
    have = len(topic.partitions)
    if count <= have:
        message = (
            f"Topic already has {have} partition(s)."
            if count == have
            else f"The topic {name} currently has {have} partition(s); {count} would not be an increase."
        )
        return answer | {"error_code": ErrorCode.INVALID_PARTITIONS, "error_message": message}
    if count - have > PARTITIONS_PER_REQUEST_MAX:
        return answer | {"error_code": ErrorCode.POLICY_VIOLATION, "error_message": EXCESSIVE_PARTITIONS}
    if wanted["assignments"] is not None and len(wanted["assignments"]) != count - have:
        message = f"{count - have} new partitions, {len(wanted['assignments'])} assignments."
        return answer | {"error_code": ErrorCode.INVALID_REPLICA_ASSIGNMENT, "error_message": message}
    if refuses(count - have):
        return answer | refusal()
    if not validate_only:
        try:
            broker.catalog.change(topic, partitions=count)
        except OSError as error:
            message = f"it could not be written down: {error.strerror}"
            return answer | {"error_code": ErrorCode.KAFKA_STORAGE_ERROR, "error_message": message}
    return answer
