"""JoinGroup (11), versions 0 to 9: enters a group, or takes part in its next rebalance.

Answered when the rebalance has all members, or its time is up. From version 4 a dynamic member first gets
MEMBER_ID_REQUIRED with the id to come back with (KIP-394); from version 5 static members keep their place (KIP-345);
from version 9 a returning static leader is told to skip the assignment (KIP-814).
Errors: INVALID_GROUP_ID, INVALID_SESSION_TIMEOUT (outside the broker's bounds), UNKNOWN_MEMBER_ID,
INCONSISTENT_GROUP_PROTOCOL, FENCED_INSTANCE_ID, GROUP_MAX_SIZE_REACHED, COORDINATOR_NOT_AVAILABLE (the disk is full).

A consumer group (KIP-848) with members takes members of this protocol in, too: the broker then plays the leader.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.groups.member import JoinRequest
from ottla.broker.groups.refusal import Refused, unwritten
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.join_group import JOIN_GROUP
from ottla.broker.wire.schema import Message

API = JOIN_GROUP
MEMBER_ID_REQUIRED_SINCE, NULLABLE_PROTOCOL_SINCE, SKIP_ASSIGNMENT_SINCE = 4, 7, 9


def handle(broker: Broker, call: Call) -> Message | None:
    body, config = call.body, broker.config
    session = body["session_timeout_ms"]
    fault = None
    if not body["group_id"]:
        fault = ErrorCode.INVALID_GROUP_ID
    elif not config.group_min_session_timeout_ms <= session <= config.group_max_session_timeout_ms:
        fault = ErrorCode.INVALID_SESSION_TIMEOUT
    if fault:
        return _refusal(call, fault)
    request = JoinRequest(
        member_id=body["member_id"],
        instance_id=body["group_instance_id"],
        client_id=call.client_id or "",
        client_host=f"/{call.client_host}",
        session_timeout_ms=session,
        rebalance_timeout_ms=body["rebalance_timeout_ms"] if call.version else session,
        protocol_type=body["protocol_type"],
        protocols=[(protocol["name"], protocol["metadata"]) for protocol in body["protocols"]],
        knows_member_id_required=call.version >= MEMBER_ID_REQUIRED_SINCE,
        knows_skip_assignment=call.version >= SKIP_ASSIGNMENT_SINCE,
    )
    try:
        broker.coordinator.requests.join(body["group_id"], request, lambda message: call.reply(_named(call, message)))
    except Refused as refusal:
        return _refusal(call, refusal.code)
    except OSError as error:
        return _refusal(call, unwritten(body["group_id"], error))
    return None


def _refusal(call: Call, code: ErrorCode) -> Message:
    # Kafka gives no id back to a member it has no room for.
    member_id = "" if code == ErrorCode.GROUP_MAX_SIZE_REACHED else call.body["member_id"]
    return _named(call, {"error_code": code, "member_id": member_id, "leader": "", "protocol_name": None})


def _named(call: Call, message: Message) -> Message:
    """Older versions cannot say null for the protocol of a refusal."""
    if call.version < NULLABLE_PROTOCOL_SINCE and message.get("protocol_name") is None:
        message["protocol_name"] = ""
    return message
