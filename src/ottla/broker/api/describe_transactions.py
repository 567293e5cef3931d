"""DescribeTransactions (65), version 0: state, producer and partitions of transactional ids.

TRANSACTIONAL_ID_NOT_FOUND for an unknown one, INVALID_REQUEST for an empty one. Groups whose offsets are part of a
transaction are not shown: there is no topic of offsets here, of which Apache Kafka shows a partition.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.describe_transactions import DESCRIBE_TRANSACTIONS
from ottla.broker.wire.schema import Message

API = DESCRIBE_TRANSACTIONS


def handle(broker: Broker, call: Call) -> Message:
    return {"transaction_states": [_describe(broker, name) for name in call.body["transactional_ids"]]}


def _describe(broker: Broker, name: str) -> Message:
    one = broker.transactions.register.by_id.get(name)
    if one is None:
        code = ErrorCode.TRANSACTIONAL_ID_NOT_FOUND if name else ErrorCode.INVALID_REQUEST
        return {"error_code": code, "transactional_id": name}
    topics: dict[str, list[int]] = {}
    for topic, index in sorted(one.partitions):
        topics.setdefault(topic, []).append(index)
    return {
        "error_code": ErrorCode.NONE,
        "transactional_id": name,
        "transaction_state": one.state.value,
        "transaction_timeout_ms": one.timeout_ms,
        "transaction_start_time_ms": one.started_at,
        "producer_id": one.producer_id,
        "producer_epoch": one.epoch,
        "topics": [{"topic": topic, "partitions": indexes} for topic, indexes in topics.items()],
    }
