"""SaslAuthenticate (36), versions 0 to 2: one token of the mechanism that SaslHandshake named, and the answer to it.

The last answer says how long the session lasts (version 1 and up; 0: without end). Errors: SASL_AUTHENTICATION_FAILED,
after a while, and then the connection is closed; ILLEGAL_SASL_STATE where no authentication is under way.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.sasl_authenticate import SASL_AUTHENTICATE
from ottla.broker.wire.schema import Message

API = SASL_AUTHENTICATE


def handle(_: Broker, call: Call) -> Message | None:
    gate = call.connection.gate
    if gate is None:
        message = "SaslAuthenticate request received on a listener without SASL"
        return {"error_code": ErrorCode.ILLEGAL_SASL_STATE, "error_message": message}
    return gate.authenticate(call)
