"""DeleteTopics (20), versions 0 to 6: deletes topics with their records and committed offsets. By id from version 6.

The journal is durable before the answer; files go afterwards, and after a crash in between at the next start.
Errors: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, INVALID_REQUEST (name and id given), THROTTLING_QUOTA_EXCEEDED
(from version 5 on).
"""

from __future__ import annotations

from collections.abc import Callable

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.security.mutations import refusal
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.delete_topics import DELETE_TOPICS
from ottla.broker.wire.schema import NO_UUID, Message

API = DELETE_TOPICS
BY_ID_SINCE = 6


def handle(broker: Broker, call: Call) -> None:
    wanted = call.body["topics"]
    if call.version < BY_ID_SINCE:
        wanted = [{"name": name, "topic_id": NO_UUID} for name in call.body["topic_names"]]
    refuses = broker.quotas.mutations(call)
    answers = [_delete(broker, one, refuses) for one in wanted]
    broker.durable(broker.catalog.journal, lambda: call.reply({"responses": answers}))


def _delete(broker: Broker, wanted: Message, refuses: Callable[[int], bool]) -> Message:
    name, topic_id = wanted["name"], wanted["topic_id"]
    answer: Message = {"name": name, "topic_id": topic_id}
    if name is not None and topic_id != NO_UUID:
        message = "You may not specify both topic name and topic id."
        return answer | {"error_code": ErrorCode.INVALID_REQUEST, "error_message": message}
    topic = broker.topic(name, topic_id)
    if topic is None:
        by_id = topic_id != NO_UUID
        code = ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return answer | {"error_code": code, "error_message": "This server does not host this topic."}
    if refuses(len(topic.partitions)):
        return answer | refusal()
    try:
        broker.catalog.delete(topic)
    except OSError as error:
        message = f"it could not be written down: {error.strerror}"
        return answer | {"error_code": ErrorCode.KAFKA_STORAGE_ERROR, "error_message": message}
    broker.coordinator.topic_deleted(topic.name)
    broker.discard(topic.partitions, topic)
    return {"name": topic.name, "topic_id": topic.id, "error_code": ErrorCode.NONE}
