"""FindCoordinator (10), versions 0 to 6: which node coordinates a group. Always this one.

Key type 0 is a group, 1 a transactional id. An empty group id is INVALID_GROUP_ID, any other key type INVALID_REQUEST.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.find_coordinator import FIND_COORDINATOR
from ottla.broker.wire.schema import Message

API = FIND_COORDINATOR
BATCHED_SINCE = 4


def handle(broker: Broker, call: Call) -> Message:
    kind = call.body["key_type"]
    if call.version < BATCHED_SINCE:
        return _find(broker, call, kind, call.body["key"])
    return {"coordinators": [_find(broker, call, kind, key) for key in call.body["coordinator_keys"]]}


def _find(broker: Broker, call: Call, kind: int, key: str) -> Message:
    if kind not in (0, 1):
        return {"key": key, "error_code": ErrorCode.INVALID_REQUEST, "node_id": -1, "port": -1, "host": ""}
    return {
        "key": key,
        "error_code": ErrorCode.NONE,
        "error_message": "NONE",
        "node_id": broker.config.node_id,
        "host": call.connection.host,
        "port": call.connection.port,
    }
