"""ListTransactions (66), versions 0 to 2: transactional ids, filtered by state and producer id.

From version 1 also by how long the transaction is open (ms), from version 2 by a pattern that the whole id must match;
INVALID_REGULAR_EXPRESSION if it is none. Filters for states that do not exist are named in the answer.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.groups.consumer.topic_regex import ALPHABET, InvalidRegex, TopicRegex
from ottla.broker.log.recovery import now_ms
from ottla.broker.transactions.transaction import State, Transaction
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.list_transactions import LIST_TRANSACTIONS
from ottla.broker.wire.schema import Message

API = LIST_TRANSACTIONS
STATES = frozenset(state.value for state in State)


def handle(broker: Broker, call: Call) -> Message:
    body = call.body
    every = broker.transactions.register.by_id.values()
    wanted = body.get("transactional_id_pattern")
    try:
        pattern = TopicRegex(wanted, ALPHABET.union(*(one.id for one in every))) if wanted else None
    except InvalidRegex:
        return {"error_code": ErrorCode.INVALID_REGULAR_EXPRESSION}
    now = now_ms()
    found = [
        {"transactional_id": one.id, "producer_id": one.producer_id, "transaction_state": one.state.value}
        for one in every
        if _passes(one, body, now) and (pattern is None or pattern.matches(one.id))
    ]
    unknown = [state for state in body["state_filters"] if state not in STATES]
    return {"error_code": ErrorCode.NONE, "unknown_state_filters": unknown, "transaction_states": found}


def _passes(one: Transaction, body: Message, now: int) -> bool:
    states, producer_ids, longer_than = body["state_filters"], body["producer_id_filters"], body.get("duration_filter")
    if states and one.state.value not in states:
        return False
    if producer_ids and one.producer_id not in producer_ids:
        return False
    return longer_than is None or longer_than < 0 or now - one.started_at > longer_than
