"""SyncGroup (14), versions 0 to 5: the leader hands in the assignment, every member takes its part.

Answered when the leader's assignment is there and written down. Errors: UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION,
REBALANCE_IN_PROGRESS (join again), INCONSISTENT_GROUP_PROTOCOL, FENCED_INSTANCE_ID.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.groups.refusal import Refused
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.sync_group import SYNC_GROUP
from ottla.broker.wire.schema import Message

API = SYNC_GROUP


def handle(broker: Broker, call: Call) -> Message | None:
    body = call.body
    if not body["group_id"]:
        return {"error_code": ErrorCode.INVALID_GROUP_ID}
    assignments = {entry["member_id"]: entry["assignment"] for entry in body["assignments"]}
    try:
        broker.coordinator.requests.sync(
            body["group_id"],
            body["member_id"],
            body["group_instance_id"],
            body["generation_id"],
            body["protocol_type"],
            body["protocol_name"],
            assignments,
            call.reply,
        )
    except Refused as refusal:
        return {"error_code": refusal.code}
    return None
