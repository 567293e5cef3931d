"""LeaveGroup (13), versions 0 to 5: members go, and the rest rebalance at once.

Up to version 2 one member, from 3 on several, static ones also by instance id alone (as admin tools remove them).
Errors per member: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID; up to version 2 they are the reply's own.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.groups.refusal import Refused, unwritten
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.leave_group import LEAVE_GROUP
from ottla.broker.wire.schema import Message

API = LEAVE_GROUP
SEVERAL_SINCE = 3


def handle(broker: Broker, call: Call) -> Message | None:
    body = call.body
    if not body["group_id"]:
        return {"error_code": ErrorCode.INVALID_GROUP_ID}
    several = call.version >= SEVERAL_SINCE
    named = body["members"] if several else [{"member_id": body["member_id"], "group_instance_id": None}]
    leaving = [(one["member_id"], one["group_instance_id"]) for one in named]

    def done(codes: list[ErrorCode]) -> None:
        if not several:
            call.reply({"error_code": codes[0]})
            return
        members = [
            {"member_id": member_id, "group_instance_id": instance_id, "error_code": code}
            for (member_id, instance_id), code in zip(leaving, codes, strict=True)
        ]
        call.reply({"error_code": ErrorCode.NONE, "members": members})

    try:
        broker.coordinator.requests.leave(body["group_id"], leaving, done)
    except Refused as refusal:
        done([refusal.code] * len(leaving))
    except OSError as error:
        return {"error_code": unwritten(body["group_id"], error)}
    return None
