"""ConsumerGroupDescribe (69), versions 0 to 1: epochs, members and assignments of groups of the new consumer protocol.

Version 1 tells which protocol a member speaks. Errors per group: INVALID_GROUP_ID (an empty name), GROUP_ID_NOT_FOUND
(also for classic groups).
"""

from __future__ import annotations

from collections.abc import Iterable

from ottla.broker.api.topics import AUTHORIZED_GROUP
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.groups.consumer.group import ConsumerGroup
from ottla.broker.groups.consumer.member import ConsumerMember, IdPartition, by_topic
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.consumer_group_describe import CONSUMER_GROUP_DESCRIBE
from ottla.broker.wire.schema import Message

API = CONSUMER_GROUP_DESCRIBE
CLASSIC_MEMBER, CONSUMER_MEMBER = 0, 1


def handle(broker: Broker, call: Call) -> Message:
    return {"groups": [_describe(broker, call, name) for name in call.body["group_ids"]]}


def _describe(broker: Broker, call: Call, name: str) -> Message:
    group = broker.coordinator.groups.get(name)
    if not name:
        return {"group_id": name, "error_code": ErrorCode.INVALID_GROUP_ID}
    if not isinstance(group, ConsumerGroup):
        why = "not found" if group is None else "is not a consumer group"
        message = f"Group {name} {why}."
        return {"group_id": name, "error_code": ErrorCode.GROUP_ID_NOT_FOUND, "error_message": message}
    known = group.state_of
    answer: Message = {
        "group_id": name,
        "group_state": group.state,
        "group_epoch": known.epoch,
        "assignment_epoch": known.assignment_epoch,
        "assignor_name": group.assignor,
        "members": [_member(broker, group, member) for member in group.members.values()],
    }
    if call.body["include_authorized_operations"]:
        answer["authorized_operations"] = AUTHORIZED_GROUP
    return answer


def _member(broker: Broker, group: ConsumerGroup, member: ConsumerMember) -> Message:
    return {
        "member_id": member.id,
        "instance_id": member.instance_id,
        "rack_id": member.rack_id,
        "member_epoch": member.epoch,
        "client_id": member.client_id,
        "client_host": member.client_host,
        "subscribed_topic_names": member.topics,
        "subscribed_topic_regex": member.regex,
        "assignment": _assignment(broker, member.assigned),
        "target_assignment": _assignment(broker, group.state_of.target.get(member.id, frozenset())),
        "member_type": CONSUMER_MEMBER if member.classic is None else CLASSIC_MEMBER,
    }


def _assignment(broker: Broker, partitions: Iterable[IdPartition]) -> Message:
    known = broker.catalog.by_id
    topics = ((topic, parts) for topic, parts in by_topic(partitions).items() if topic in known)
    return {
        "topic_partitions": [
            {"topic_id": topic, "topic_name": known[topic].name, "partitions": parts} for topic, parts in topics
        ]
    }
