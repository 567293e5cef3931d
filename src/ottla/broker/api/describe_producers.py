"""DescribeProducers (61), version 0: who writes to a partition, and since which offset with an open transaction.

UNKNOWN_TOPIC_OR_PARTITION for a partition that does not exist.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.describe_producers import DESCRIBE_PRODUCERS
from ottla.broker.wire.schema import Message

API = DESCRIBE_PRODUCERS


def handle(broker: Broker, call: Call) -> Message:
    topics: list[Message] = []
    for wanted in call.body["topics"]:
        topic = broker.catalog.topics.get(wanted["name"])
        partitions: list[Message] = []
        for index in wanted["partition_indexes"]:
            log = topic.partition(index) if topic else None
            answer = {"active_producers": _producers(log)} if log else _unknown(known_topic=topic is not None)
            partitions.append({"partition_index": index} | answer)
        topics.append({"name": wanted["name"], "partitions": partitions})
    return {"topics": topics}


def _unknown(*, known_topic: bool) -> Message:
    message = None if known_topic else "This server does not host this topic-partition."
    return {"error_code": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "error_message": message}


def _producers(log: PartitionLog) -> list[Message]:
    return [
        {
            "producer_id": producer_id,
            "producer_epoch": state.epoch,
            "last_sequence": state.batches[-1].last_sequence if state.batches else -1,
            "last_timestamp": state.last_timestamp,
            "coordinator_epoch": state.coordinator_epoch,
            "current_txn_start_offset": log.transactions.open.get(producer_id, -1),
        }
        for producer_id, state in log.producers.states.items()
    ]
