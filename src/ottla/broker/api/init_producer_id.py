"""InitProducerId (22), versions 0 to 5: an id for a producer, never given twice, also not after a crash.

Without a transactional id: a new id at epoch 0. With one: its producer id at the next epoch, which fences whoever had
it before; an open transaction is aborted, and CONCURRENT_TRANSACTIONS answered until that is done. From version 3 a
producer may name its id and epoch, to go on after an error: PRODUCER_FENCED if they are outdated
(INVALID_PRODUCER_EPOCH up to version 3). INVALID_REQUEST for an empty transactional id, or an id without epoch;
INVALID_TRANSACTION_TIMEOUT above the broker's transaction.max.timeout.ms; COORDINATOR_NOT_AVAILABLE if the disk is
full.
"""

from __future__ import annotations

import logging

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.transactions.transaction import Refused
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.init_producer_id import INIT_PRODUCER_ID
from ottla.broker.wire.schema import Message

logger = logging.getLogger("ottla.broker")

API = INIT_PRODUCER_ID
FENCED_SINCE = 4


def handle(broker: Broker, call: Call) -> Message | None:
    body = call.body
    transactional_id, producer_id, epoch = body["transactional_id"], body["producer_id"], body["producer_epoch"]
    if transactional_id == "" or (producer_id == -1) != (epoch == -1):
        return _refusal(ErrorCode.INVALID_REQUEST)

    def done(producer_id: int, epoch: int) -> None:
        call.reply({"error_code": ErrorCode.NONE, "producer_id": producer_id, "producer_epoch": epoch})

    try:
        if transactional_id is None:
            new = broker.producer_ids.take()
            broker.producer_ids.when_durable(lambda: done(new, 0))
        else:
            expected = None if producer_id == -1 else (producer_id, epoch)
            broker.transactions.initialise(transactional_id, body["transaction_timeout_ms"], expected, done)
    except Refused as refused:
        fenced = refused.code is ErrorCode.PRODUCER_FENCED and call.version < FENCED_SINCE
        return _refusal(ErrorCode.INVALID_PRODUCER_EPOCH if fenced else refused.code)
    except OSError as error:
        logger.error("a producer id for %r could not be written down: %s", transactional_id, error)
        return _refusal(ErrorCode.COORDINATOR_NOT_AVAILABLE)
    return None


def _refusal(code: ErrorCode) -> Message:
    return {"error_code": code, "producer_id": -1, "producer_epoch": -1}
