"""OffsetFetch (9), versions 0 to 10: what groups have committed.

Several groups per request from version 8, topic ids from version 10. From version 9 members of the new consumer
protocol say who they are: UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH. Null topics (from version 2) mean all the group
committed. Nothing committed, or an unknown group, is offset -1 without an error, as in Kafka. With `require_stable`
(from version 7) a partition whose offset is part of an open transaction is UNSTABLE_OFFSET_COMMIT: ask again.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.groups.consumer.group import ConsumerGroup
from ottla.broker.groups.coordinator import Committed
from ottla.broker.groups.refusal import Refused
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.offset_fetch import OFFSET_FETCH
from ottla.broker.wire.schema import Message

API = OFFSET_FETCH
GROUPS_SINCE, TOPIC_IDS_SINCE = 8, 10
NOTHING = Committed(-1, -1, "", -1)


def handle(broker: Broker, call: Call) -> Message:
    if call.version < GROUPS_SINCE:
        return _fetch(broker, call, call.body)
    return {"groups": [_fetch(broker, call, wanted) for wanted in call.body["groups"]]}


def _fetch(broker: Broker, call: Call, wanted: Message) -> Message:
    name, topics = wanted["group_id"], wanted["topics"]
    group = broker.coordinator.groups.get(name)
    if isinstance(group, ConsumerGroup):
        try:
            group.check_fetch(wanted.get("member_id"), wanted.get("member_epoch", -1))
        except Refused as refusal:
            return {"group_id": name, "error_code": refusal.code}
    pending = broker.coordinator.pending.partitions(name) if call.body["require_stable"] else set()
    stored = broker.coordinator.offsets.get(name, {})
    answers: list[Message] = []
    if topics is None:
        by_topic: dict[str, list[Message]] = {}
        for (topic_name, index), committed in stored.items():
            unstable = (topic_name, index) in pending
            by_topic.setdefault(topic_name, []).append(_unstable(index) if unstable else _partition(index, committed))
        for topic_name, partitions in by_topic.items():
            topic = broker.catalog.topics.get(topic_name)
            topic_id = topic.id if topic else bytes(16)
            answers.append({"name": topic_name, "topic_id": topic_id, "partitions": partitions})
    for one in topics or ():
        by_id = call.version >= TOPIC_IDS_SINCE
        topic = broker.catalog.by_id.get(one["topic_id"]) if by_id else None
        unknown = by_id and topic is None
        topic_name = topic.name if topic else one.get("name", "")
        partitions = [
            _unstable(index)
            if (topic_name, index) in pending
            else _partition(
                index,
                NOTHING if unknown else stored.get((topic_name, index), NOTHING),
                ErrorCode.UNKNOWN_TOPIC_ID if unknown else ErrorCode.NONE,
            )
            for index in one["partition_indexes"]
        ]
        answers.append({"name": topic_name, "topic_id": one.get("topic_id", bytes(16)), "partitions": partitions})
    return {"group_id": name, "topics": answers, "error_code": ErrorCode.NONE}


def _partition(index: int, committed: Committed, code: ErrorCode = ErrorCode.NONE) -> Message:
    return {
        "partition_index": index,
        "committed_offset": committed.offset,
        "committed_leader_epoch": committed.leader_epoch,
        "metadata": committed.metadata,
        "error_code": code,
    }


def _unstable(index: int) -> Message:
    return _partition(index, NOTHING, ErrorCode.UNSTABLE_OFFSET_COMMIT)
