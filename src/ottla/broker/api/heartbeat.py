"""Heartbeat (12), versions 0 to 4: a member is alive. REBALANCE_IN_PROGRESS tells it to join again.

Errors: UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, FENCED_INSTANCE_ID, INVALID_GROUP_ID.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.groups.refusal import Refused
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.heartbeat import HEARTBEAT
from ottla.broker.wire.schema import Message

API = HEARTBEAT


def handle(broker: Broker, call: Call) -> Message:
    body = call.body
    if not body["group_id"]:
        return {"error_code": ErrorCode.INVALID_GROUP_ID}
    who = (body["member_id"], body["group_instance_id"], body["generation_id"])
    try:
        return {"error_code": broker.coordinator.requests.classic_heartbeat(body["group_id"], *who)}
    except Refused as refusal:
        return {"error_code": refusal.code}
