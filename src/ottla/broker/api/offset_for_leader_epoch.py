"""OffsetForLeaderEpoch (23), versions 0 to 4: where a leader epoch ends; consumers check for truncation with it.

There is one node and one epoch, 0, and it ends at the high watermark. Errors: UNKNOWN_TOPIC_OR_PARTITION,
UNKNOWN_LEADER_EPOCH.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.log.partition_log import LEADER_EPOCH, PartitionLog
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.offset_for_leader_epoch import OFFSET_FOR_LEADER_EPOCH
from ottla.broker.wire.schema import Message

API = OFFSET_FOR_LEADER_EPOCH


def handle(broker: Broker, call: Call) -> Message:
    answers: list[Message] = []
    for wanted in call.body["topics"]:
        topic = broker.catalog.topics.get(wanted["topic"])
        partitions = [
            _epoch_end(topic.partition(part["partition"]) if topic else None, part) for part in wanted["partitions"]
        ]
        answers.append({"topic": wanted["topic"], "partitions": partitions})
    return {"topics": answers}


def _epoch_end(log: PartitionLog | None, part: Message) -> Message:
    answer: Message = {"partition": part["partition"]}
    if log is None:
        return answer | {"error_code": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}
    if part["current_leader_epoch"] > LEADER_EPOCH:
        return answer | {"error_code": ErrorCode.UNKNOWN_LEADER_EPOCH}
    if part["leader_epoch"] != LEADER_EPOCH:
        return answer
    return answer | {"leader_epoch": LEADER_EPOCH, "end_offset": log.high_watermark}
