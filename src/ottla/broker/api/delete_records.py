"""DeleteRecords (21), versions 0 to 2: moves the start of partitions forward; -1 is the high watermark.

Written down durably before the answer; whole segments before the new start are removed.
Errors: UNKNOWN_TOPIC_OR_PARTITION, OFFSET_OUT_OF_RANGE (beyond the high watermark), POLICY_VIOLATION (the topic is only
compacted).
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.catalog import Topic
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.delete_records import DELETE_RECORDS
from ottla.broker.wire.schema import Message

API = DELETE_RECORDS


def handle(broker: Broker, call: Call) -> None:
    answers: list[Message] = []
    for wanted in call.body["topics"]:
        topic = broker.catalog.topics.get(wanted["name"])
        partitions = [_delete(broker, topic, part) for part in wanted["partitions"]]
        answers.append({"name": wanted["name"], "partitions": partitions})
    broker.durable(broker.catalog.journal, lambda: call.reply({"topics": answers}))


def _delete(broker: Broker, topic: Topic | None, part: Message) -> Message:
    index, offset = part["partition_index"], part["offset"]
    log = topic.partition(index) if topic else None
    answer: Message = {"partition_index": index, "low_watermark": -1}
    if topic is None or log is None:
        return answer | {"error_code": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}
    if not topic.config.delete:
        return answer | {"error_code": ErrorCode.POLICY_VIOLATION}
    if offset == -1:
        offset = log.high_watermark
    if not 0 <= offset <= log.high_watermark:
        return answer | {"error_code": ErrorCode.OFFSET_OUT_OF_RANGE}
    if offset > log.start_offset:
        try:
            broker.remove_segments(topic, index, log.delete_until(offset))
        except OSError:
            return answer | {"error_code": ErrorCode.KAFKA_STORAGE_ERROR}
    return answer | {"low_watermark": log.start_offset}
