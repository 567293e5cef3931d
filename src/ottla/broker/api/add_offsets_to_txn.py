"""AddOffsetsToTxn (25), versions 0 to 4: takes a group's offsets into a producer's transaction, before it commits them.

Errors: INVALID_GROUP_ID for an empty group id, INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED
(INVALID_PRODUCER_EPOCH up to version 1), CONCURRENT_TRANSACTIONS, COORDINATOR_NOT_AVAILABLE if the disk is full.
"""

from __future__ import annotations

import logging

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.transactions.transaction import Refused
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.add_offsets_to_txn import ADD_OFFSETS_TO_TXN
from ottla.broker.wire.schema import Message

logger = logging.getLogger("ottla.broker")

API = ADD_OFFSETS_TO_TXN
FENCED_SINCE = 2


def handle(broker: Broker, call: Call) -> Message | None:
    body = call.body
    try:
        one = broker.transactions.find(body["transactional_id"], body["producer_id"])
        journal = broker.transactions.add(one, body["producer_epoch"], set(), {body["group_id"]}, 0)
    except Refused as refused:
        fenced = refused.code is ErrorCode.PRODUCER_FENCED and call.version < FENCED_SINCE
        return {"error_code": ErrorCode.INVALID_PRODUCER_EPOCH if fenced else refused.code}
    except OSError as error:
        logger.error("transaction %s: a group could not be added: %s", body["transactional_id"], error)
        return {"error_code": ErrorCode.COORDINATOR_NOT_AVAILABLE}
    reply = {"error_code": ErrorCode.NONE}
    if journal is None:
        return reply
    broker.durable(journal, lambda: call.reply(reply))
    return None
