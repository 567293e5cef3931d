"""OffsetCommit (8), versions 0 to 10: stores a group's offsets, durably, before the answer.

From a member of the group, or from outside while the group is empty. Topic ids from version 10, member epochs
(KIP-848) from version 9. Errors per partition: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, OFFSET_METADATA_TOO_LARGE
(above 4096 bytes), STALE_MEMBER_EPOCH (a commit at an older epoch, for a partition that the member did not have then);
for all: UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, STALE_MEMBER_EPOCH, REBALANCE_IN_PROGRESS, FENCED_INSTANCE_ID,
KAFKA_STORAGE_ERROR, GROUP_ID_NOT_FOUND (from version 9), UNSUPPORTED_VERSION (before it, for members of the new
protocol).
"""

from __future__ import annotations

import logging

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.groups.committer import Committer
from ottla.broker.groups.coordinator import Committed, Partition
from ottla.broker.groups.refusal import Refused
from ottla.broker.log.recovery import now_ms
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.offset_commit import OFFSET_COMMIT
from ottla.broker.wire.schema import Message

logger = logging.getLogger("ottla.broker")

API = OFFSET_COMMIT
TOPIC_IDS_SINCE = 10
METADATA_BYTES_MAX = 4096


def handle(broker: Broker, call: Call) -> Message | None:
    body = call.body
    epoch, member_id = body["generation_id_or_member_epoch"], body["member_id"]
    committer = Committer(member_id, body["group_instance_id"], epoch, call.version)
    try:
        check = broker.coordinator.check_commit(body["group_id"], committer)
    except Refused as refusal:
        code = refusal.code
        return _answer(call, lambda *_: code)
    offsets: dict[Partition, Committed] = {}
    codes: dict[tuple[int, int], ErrorCode] = {}
    for number, wanted in enumerate(body["topics"]):
        by_id = call.version >= TOPIC_IDS_SINCE
        topic = broker.topic(wanted["name"], wanted["topic_id"] if by_id else None)
        for part in wanted["partitions"]:
            index, metadata = part["partition_index"], part["committed_metadata"] or ""
            code = ErrorCode.NONE
            if topic is None or topic.partition(index) is None:
                missing_id = by_id and topic is None
                code = ErrorCode.UNKNOWN_TOPIC_ID if missing_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            elif len(metadata) > METADATA_BYTES_MAX:
                code = ErrorCode.OFFSET_METADATA_TOO_LARGE
            elif refused := check((topic.id, index)):
                code = refused
            else:
                offset, epoch = part["committed_offset"], part["committed_leader_epoch"]
                offsets[topic.name, index] = Committed(offset, epoch, metadata, now_ms())
            codes[number, index] = code
    reply = _answer(call, lambda number, index: codes[number, index])
    if not offsets:
        return reply
    try:
        broker.coordinator.commit(body["group_id"], offsets, lambda: call.reply(reply))
    except OSError as error:
        logger.error("offsets of group %s could not be written: %s", body["group_id"], error)
        return _answer(call, lambda *_: ErrorCode.KAFKA_STORAGE_ERROR)
    return None


def _answer(call: Call, code_of: object) -> Message:
    assert callable(code_of)
    return {
        "topics": [
            {
                "name": wanted["name"],
                "topic_id": wanted["topic_id"],
                "partitions": [
                    {"partition_index": part["partition_index"], "error_code": code_of(number, part["partition_index"])}
                    for part in wanted["partitions"]
                ],
            }
            for number, wanted in enumerate(call.body["topics"])
        ]
    }
