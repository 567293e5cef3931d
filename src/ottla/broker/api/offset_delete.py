"""OffsetDelete (47), version 0: deletes committed offsets of partitions a group does not read at present.

Errors: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP (its members are no consumers: nobody knows what they read); per partition
GROUP_SUBSCRIBED_TO_TOPIC and UNKNOWN_TOPIC_OR_PARTITION.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.groups.consumer_protocol import PROTOCOL_TYPE
from ottla.broker.groups.coordinator import Partition
from ottla.broker.groups.group import EMPTY, Group
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.offset_delete import OFFSET_DELETE
from ottla.broker.wire.schema import Message

API = OFFSET_DELETE


def handle(broker: Broker, call: Call) -> Message | None:
    name = call.body["group_id"]
    group = broker.coordinator.groups.get(name)
    if group is None:
        return {"error_code": ErrorCode.GROUP_ID_NOT_FOUND}
    if isinstance(group, Group) and group.state != EMPTY and group.protocol_type != PROTOCOL_TYPE:
        return {"error_code": ErrorCode.NON_EMPTY_GROUP}
    gone: list[Partition] = []
    answers: list[Message] = []
    for wanted in call.body["topics"]:
        topic = broker.catalog.topics.get(wanted["name"])
        partitions: list[Message] = []
        for part in wanted["partitions"]:
            index, code = part["partition_index"], ErrorCode.NONE
            if topic is None or topic.partition(index) is None:
                code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            elif group.subscribes_to(topic.name):
                code = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
            else:
                gone.append((topic.name, index))
            partitions.append({"partition_index": index, "error_code": code})
        answers.append({"name": wanted["name"], "partitions": partitions})
    broker.coordinator.delete_offsets(name, gone, lambda: call.reply({"topics": answers}))
    return None
