"""WriteTxnMarkers (27), versions 1 and 2: writes the end of a transaction into partitions, without the coordinator.

What the admin tools use to abort a hanging transaction: one that is open in a partition though no coordinator knows of
it. Errors, per partition: UNKNOWN_TOPIC_OR_PARTITION; INVALID_PRODUCER_ID_MAPPING for a negative producer id;
INVALID_PRODUCER_EPOCH for an epoch older than the producer's, or negative; TRANSACTION_COORDINATOR_FENCED for a
coordinator epoch older than that of the last marker; KAFKA_STORAGE_ERROR.
"""

from __future__ import annotations

import logging

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.log.control import Marker
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.transactions.markers import Wait, mark
from ottla.broker.transactions.transaction import TV2
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.write_txn_markers import WRITE_TXN_MARKERS
from ottla.broker.wire.schema import Message

logger = logging.getLogger("ottla.broker")

API = WRITE_TXN_MARKERS


def handle(broker: Broker, call: Call) -> None:
    answers: list[Message] = []
    wait = Wait(lambda: call.reply({"markers": answers}))
    for marker in call.body["markers"]:
        topics: list[Message] = []
        for topic in marker["topics"]:
            codes = [
                {"partition_index": index, "error_code": _write(broker, marker, topic["name"], index, wait)}
                for index in topic["partition_indexes"]
            ]
            topics.append({"name": topic["name"], "partitions": codes})
        answers.append({"producer_id": marker["producer_id"], "topics": topics})
    wait.leave()


def _write(broker: Broker, marker: Message, name: str, index: int, wait: Wait) -> ErrorCode:
    topic = broker.catalog.topics.get(name)
    log = topic.partition(index) if topic else None
    if topic is None or log is None:
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    fault = _fault(log, marker)
    if fault:
        return fault
    kind = Marker.COMMIT if marker["transaction_result"] else Marker.ABORT
    try:
        mark(topic, log, marker["producer_id"], marker["producer_epoch"], kind, marker["coordinator_epoch"])
    except OSError as error:
        logger.error("%s: a marker could not be written: %s", log.folder, error)
        return ErrorCode.KAFKA_STORAGE_ERROR
    broker.appended(log, wait.enter())
    return ErrorCode.NONE


def _fault(log: PartitionLog, marker: Message) -> ErrorCode | None:
    if marker["producer_id"] < 0:
        return ErrorCode.INVALID_PRODUCER_ID_MAPPING  # a batch without a producer could end nobody's transaction
    if marker["producer_epoch"] < 0:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    state = log.producers.states.get(marker["producer_id"])
    if state is None:
        return None
    epoch = marker["producer_epoch"]
    # With transaction.version 2 a marker always brings a new epoch; one that does not is late (KIP-890).
    late = epoch <= state.epoch if marker.get("transaction_version", 0) >= TV2 else epoch < state.epoch
    if late:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    if marker["coordinator_epoch"] < state.coordinator_epoch:
        return ErrorCode.TRANSACTION_COORDINATOR_FENCED
    return None
