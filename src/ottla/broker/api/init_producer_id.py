"""InitProducerId (22), versions 0 to 5: an id for an idempotent producer, never given twice, also not after a crash.

Ids are reserved in the journal in blocks; only the first of a block waits for the disk. A transactional id is refused
with UNSUPPORTED_VERSION: transactions are not served yet.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.init_producer_id import INIT_PRODUCER_ID
from ottla.broker.wire.schema import Message

API = INIT_PRODUCER_ID


def handle(broker: Broker, call: Call) -> Message | None:
    transactional_id = call.body["transactional_id"]
    if transactional_id is not None:
        code = ErrorCode.UNSUPPORTED_VERSION if transactional_id else ErrorCode.INVALID_REQUEST
        return {"error_code": code, "producer_id": -1, "producer_epoch": -1}
    producer_id, reserved = broker.catalog.next_producer_id()
    reply = {"error_code": ErrorCode.NONE, "producer_id": producer_id, "producer_epoch": 0}
    if not reserved:
        return reply
    broker.durable(broker.catalog.journal, lambda: call.reply(reply))
    return None
