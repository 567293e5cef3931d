"""DescribeGroups (15), versions 0 to 6: state and members of groups.

An unknown group, or one of the new consumer protocol, is Dead without an error; from version 6 it is
GROUP_ID_NOT_FOUND.
"""

from __future__ import annotations

from ottla.broker.api.topics import AUTHORIZED_GROUP
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.groups.group import DEAD, STABLE, Group
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.describe_groups import DESCRIBE_GROUPS
from ottla.broker.wire.schema import Message

API = DESCRIBE_GROUPS
NOT_FOUND_SINCE = 6


def handle(broker: Broker, call: Call) -> Message:
    return {"groups": [_describe(broker, call, name) for name in call.body["groups"]]}


def _describe(broker: Broker, call: Call, name: str) -> Message:
    group = broker.coordinator.groups.get(name)
    if not isinstance(group, Group):
        answer: Message = {"group_id": name, "group_state": DEAD}
        if call.version >= NOT_FOUND_SINCE:
            why = "not found" if group is None else "is not a classic group"
            answer |= {"error_code": ErrorCode.GROUP_ID_NOT_FOUND, "error_message": f"Group {name} {why}."}
        return answer
    stable = group.state == STABLE
    answer = {
        "group_id": name,
        "group_state": group.state,
        "protocol_type": group.protocol_type or "",
        "protocol_data": (group.protocol or "") if stable else "",
        "members": [
            {
                "member_id": member.id,
                "group_instance_id": member.instance_id,
                "client_id": member.client_id,
                "client_host": member.client_host,
                "member_metadata": member.metadata(group.protocol) if stable else b"",
                "member_assignment": member.assignment if stable else b"",
            }
            for member in group.members.values()
        ],
    }
    if call.body["include_authorized_operations"]:
        answer["authorized_operations"] = AUTHORIZED_GROUP
    return answer
