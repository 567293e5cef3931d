"""SaslHandshake (17), versions 0 and 1: the client names the SASL mechanism it wants.

After version 1 the tokens come in SaslAuthenticate requests, after version 0 bare, each behind its length. Errors:
UNSUPPORTED_SASL_MECHANISM with the mechanisms there are, and then the connection is closed; ILLEGAL_SASL_STATE on a
listener without SASL, and on a connection that is authenticated and need not be again.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.sasl_handshake import SASL_HANDSHAKE
from ottla.broker.wire.schema import Message

API = SASL_HANDSHAKE


def handle(_: Broker, call: Call) -> Message | None:
    gate = call.connection.gate
    if gate is None:
        return {"error_code": ErrorCode.ILLEGAL_SASL_STATE}
    return gate.handshake(call)
