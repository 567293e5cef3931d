"""AddPartitionsToTxn (24), versions 0 to 5: takes partitions into a producer's transaction, before it writes to them.

From version 4 on the form that brokers use among themselves: several transactions per request, and `verify_only`, which
adds nothing and answers TRANSACTION_ABORTABLE for a partition that is not part of the open transaction. Answered per
partition. A partition that does not exist gets UNKNOWN_TOPIC_OR_PARTITION, and then nothing of its transaction is added
(OPERATION_NOT_ATTEMPTED). For all: INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED
(INVALID_PRODUCER_EPOCH up to version 1), CONCURRENT_TRANSACTIONS, COORDINATOR_NOT_AVAILABLE if the disk is full.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.transactions.transaction import TV2, Partition, Refused
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.add_partitions_to_txn import ADD_PARTITIONS_TO_TXN
from ottla.broker.wire.schema import Message

logger = logging.getLogger("ottla.broker")

API = ADD_PARTITIONS_TO_TXN
FENCED_SINCE, BATCHED_SINCE = 2, 4
CodeOf = Callable[[Partition], ErrorCode]


def handle(broker: Broker, call: Call) -> Message | None:
    batched = call.version >= BATCHED_SINCE
    reply: Message = {"error_code": ErrorCode.NONE}
    written = False
    if batched:
        results: list[Message] = []
        for wanted in call.body["transactions"]:
            code_of, new = _add(broker, wanted, call.version)
            written |= new
            topics = _answer(wanted, code_of)
            results.append({"transactional_id": wanted["transactional_id"], "topic_results": topics})
        reply["results_by_transaction"] = results
    else:
        code_of, written = _add(broker, call.body, call.version)
        reply["results_by_topic"] = _answer(call.body, code_of)
    if not written:
        return reply
    broker.durable(broker.transactions.register.journal, lambda: call.reply(reply))
    return None


def _add(broker: Broker, wanted: Message, version: int) -> tuple[CodeOf, bool]:
    """The code for each partition, and whether anything was written that has to be durable first."""
    partitions = {(topic["name"], index) for topic in wanted["topics"] for index in topic["partitions"]}
    missing = {partition for partition in partitions if not _exists(broker, partition)}
    if missing:
        unknown, skipped = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.OPERATION_NOT_ATTEMPTED
        return lambda partition: unknown if partition in missing else skipped, False
    coordinator, epoch = broker.transactions, wanted["producer_epoch"]
    try:
        one = coordinator.find(wanted["transactional_id"], wanted["producer_id"])
        if wanted.get("verify_only"):
            added = {partition for partition in partitions if coordinator.check_added(one, epoch, partition)}
            return lambda partition: ErrorCode.NONE if partition in added else ErrorCode.TRANSACTION_ABORTABLE, False
        journal = coordinator.add(one, epoch, partitions, set(), TV2 if version >= BATCHED_SINCE else 0)
        return lambda _: ErrorCode.NONE, journal is not None
    except Refused as refused:
        fenced = refused.code is ErrorCode.PRODUCER_FENCED and version < FENCED_SINCE
        code = ErrorCode.INVALID_PRODUCER_EPOCH if fenced else refused.code
    except OSError as error:
        logger.error("transaction %s: partitions could not be added: %s", wanted["transactional_id"], error)
        code = ErrorCode.COORDINATOR_NOT_AVAILABLE
    return lambda _: code, False


def _exists(broker: Broker, partition: Partition) -> bool:
    topic = broker.catalog.topics.get(partition[0])
    return topic is not None and topic.partition(partition[1]) is not None


def _answer(wanted: Message, code_of: CodeOf) -> list[Message]:
    return [
        {
            "name": topic["name"],
            "results_by_partition": [
                {"partition_index": index, "partition_error_code": code_of((topic["name"], index))}
                for index in topic["partitions"]
            ],
        }
        for topic in wanted["topics"]
    ]
