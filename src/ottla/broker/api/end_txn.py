"""EndTxn (26), versions 0 to 5: commits or aborts a transaction.

Answered once the outcome is durable everywhere: markers in all partitions, offsets in all groups. A repeated request
is answered as the first one. From version 5 on (transaction.version 2, KIP-890) each end gives the producer a new
epoch, or a new id once the epochs are used up, so that a late request cannot hit the next transaction; and an abort is
possible without a transaction. Errors: INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED
(INVALID_PRODUCER_EPOCH up to version 1), INVALID_TXN_STATE, CONCURRENT_TRANSACTIONS, COORDINATOR_NOT_AVAILABLE if the
disk is full.
"""

from __future__ import annotations

import logging

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.log.control import Marker
from ottla.broker.transactions.transaction import TV2, Refused
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.end_txn import END_TXN
from ottla.broker.wire.schema import Message

logger = logging.getLogger("ottla.broker")

API = END_TXN
FENCED_SINCE, EPOCHS_SINCE = 2, 5


def handle(broker: Broker, call: Call) -> Message | None:
    body = call.body

    def done(code: ErrorCode, producer_id: int, epoch: int) -> None:
        call.reply({"error_code": code, "producer_id": producer_id, "producer_epoch": epoch})

    try:
        broker.transactions.end(
            body["transactional_id"],
            body["producer_id"],
            body["producer_epoch"],
            Marker.COMMIT if body["committed"] else Marker.ABORT,
            TV2 if call.version >= EPOCHS_SINCE else 0,
            done,
        )
    except Refused as refused:
        fenced = refused.code is ErrorCode.PRODUCER_FENCED and call.version < FENCED_SINCE
        return {"error_code": ErrorCode.INVALID_PRODUCER_EPOCH if fenced else refused.code}
    except OSError as error:
        logger.error("transaction %s: its end could not be written: %s", body["transactional_id"], error)
        return {"error_code": ErrorCode.COORDINATOR_NOT_AVAILABLE}
    return None
