"""ListOffsets (2), versions 0 to 10: offsets by position or by time.

Timestamps: -1 the end (high watermark), -2 the start, -3 the record with the largest timestamp, -4 the start of local
data (the start), -5 the end of remote data (none: -1). Any other: the first record with that timestamp or a later one,
found at record level; zstd batches answer with their first record, which is never later than the
right one, unless Python 3.14 or the package `zstandard` can open them. Offset -1 means there is none. With the
isolation level read_committed the end is the last stable offset, and nothing beyond it is found.
Version 0 answers with a list of one offset. Version 7 brought -3, version 8 -4, version 9 -5: before them they are
UNSUPPORTED_VERSION, as is any other negative time. A partition named twice is answered once, with INVALID_REQUEST.
"""

from __future__ import annotations

from collections import Counter

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.log import lookup
from ottla.broker.log.partition_log import LEADER_EPOCH, PartitionLog
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.list_offsets import LIST_OFFSETS
from ottla.broker.wire.schema import Message
from ottla.errors import CorruptLog

API = LIST_OFFSETS
READ_UNCOMMITTED, READ_COMMITTED = 0, 1
LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED = -1, -2, -3, -4, -5


_SINCE = {LATEST: 0, EARLIEST: 0, MAX_TIMESTAMP: 7, EARLIEST_LOCAL: 8, LATEST_TIERED: 9}


def handle(broker: Broker, call: Call) -> Message:
    isolation = call.body["isolation_level"]
    asked = Counter(
        (topic["name"], part["partition_index"]) for topic in call.body["topics"] for part in topic["partitions"]
    )
    topics: list[Message] = []
    for wanted in call.body["topics"]:
        topic = broker.catalog.topics.get(wanted["name"])
        partitions: list[Message] = []
        for part in wanted["partitions"]:
            number = part["partition_index"]
            times = asked.pop((wanted["name"], number), 0)
            if not times:
                continue  # answered above
            log = topic.partition(number) if topic else None
            if times > 1:
                answer: Message = {"error_code": ErrorCode.INVALID_REQUEST}
            elif log is None:
                answer = {"error_code": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}
            elif isolation not in (READ_UNCOMMITTED, READ_COMMITTED):
                answer = {"error_code": ErrorCode.UNKNOWN_SERVER_ERROR}  # as Kafka calls it
            else:
                answer = _look_up(log, part, isolation == READ_COMMITTED, call.version)
            answer["partition_index"] = number
            partitions.append(answer)
        topics.append({"name": wanted["name"], "partitions": partitions})
    return {"topics": topics}


def _look_up(log: PartitionLog, part: Message, committed: bool, version: int) -> Message:
    if part["current_leader_epoch"] > LEADER_EPOCH:
        return {"error_code": ErrorCode.UNKNOWN_LEADER_EPOCH}
    if part["current_leader_epoch"] < -1:
        return {"error_code": ErrorCode.FENCED_LEADER_EPOCH}
    if part["timestamp"] < 0 and version < _SINCE.get(part["timestamp"], version + 1):
        return {"error_code": ErrorCode.UNSUPPORTED_VERSION}
    asked = part["timestamp"]
    timestamp, offset = -1, -1
    end = log.last_stable_offset if committed else log.high_watermark
    if asked == LATEST:
        offset = end
    elif asked in (EARLIEST, EARLIEST_LOCAL):
        offset = log.start_offset
    elif asked != LATEST_TIERED:
        try:
            found = lookup.largest_timestamp(log) if asked == MAX_TIMESTAMP else lookup.first_at_or_after(log, asked)
        except CorruptLog as damage:
            log.note_damage(str(damage))
            return {"error_code": ErrorCode.CORRUPT_MESSAGE}
        timestamp, offset = found
    if committed and asked not in (LATEST, EARLIEST, EARLIEST_LOCAL) and offset >= end:
        timestamp, offset = -1, -1  # what is found is not decided yet
    epoch = LEADER_EPOCH if offset >= 0 else -1
    listed = [offset] if offset >= 0 else []
    return {"timestamp": timestamp, "offset": offset, "leader_epoch": epoch, "old_style_offsets": listed}
