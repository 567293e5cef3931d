"""LeaveGroup (13), versions 0 to 5: members go, and the rest rebalance at once.

Up to version 2 one member, from 3 on several, static ones also by instance id alone (as admin tools remove them).
Errors per member: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID; up to version 2 they are the reply's own.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.leave_group import LEAVE_GROUP
from ottla.broker.wire.schema import Message

API = LEAVE_GROUP
SEVERAL_SINCE = 3


def handle(broker: Broker, call: Call) -> Message:
    body = call.body
    if not body["group_id"]:
        return {"error_code": ErrorCode.INVALID_GROUP_ID}
    group = broker.coordinator.groups.get(body["group_id"])
    if call.version < SEVERAL_SINCE:
        return {"error_code": group.leave(body["member_id"], None) if group else ErrorCode.UNKNOWN_MEMBER_ID}
    members: list[Message] = []
    for leaving in body["members"]:
        member_id, instance_id = leaving["member_id"], leaving["group_instance_id"]
        code = group.leave(member_id, instance_id) if group else ErrorCode.UNKNOWN_MEMBER_ID
        members.append({"member_id": member_id, "group_instance_id": instance_id, "error_code": code})
    return {"error_code": ErrorCode.NONE, "members": members}
