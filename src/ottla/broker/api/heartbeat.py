"""Heartbeat (12), versions 0 to 4: a member is alive. REBALANCE_IN_PROGRESS tells it to join again.

Errors: UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, FENCED_INSTANCE_ID, INVALID_GROUP_ID.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.heartbeat import HEARTBEAT
from ottla.broker.wire.schema import Message

API = HEARTBEAT


def handle(broker: Broker, call: Call) -> Message:
    body = call.body
    if not body["group_id"]:
        return {"error_code": ErrorCode.INVALID_GROUP_ID}
    group = broker.coordinator.groups.get(body["group_id"])
    if group is None:
        return {"error_code": ErrorCode.UNKNOWN_MEMBER_ID}
    return {"error_code": group.heartbeat(body["member_id"], body["group_instance_id"], body["generation_id"])}
