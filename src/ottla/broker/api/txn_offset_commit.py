"""TxnOffsetCommit (28), versions 0 to 5: a group's offsets as part of a transaction; they count once it is committed.

The group must have been added to the open transaction (AddOffsetsToTxn): else INVALID_TXN_STATE up to version 3,
TRANSACTION_ABORTABLE in version 4; from version 5 on it is added by this (transaction.version 2). From version 3 a
consumer's member id and generation fence it (KIP-447): UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, FENCED_INSTANCE_ID.
Others: INVALID_GROUP_ID, INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, INVALID_PRODUCER_EPOCH, CONCURRENT_TRANSACTIONS,
UNKNOWN_TOPIC_OR_PARTITION and OFFSET_METADATA_TOO_LARGE per partition, COORDINATOR_NOT_AVAILABLE if the disk is full.
"""

from __future__ import annotations

import logging

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.groups import refusal
from ottla.broker.groups.committer import Committer
from ottla.broker.groups.coordinator import Committed, Partition
from ottla.broker.log.journal import Journal
from ottla.broker.log.recovery import now_ms
from ottla.broker.transactions.markers import Wait
from ottla.broker.transactions.transaction import TV2, Refused
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.txn_offset_commit import TXN_OFFSET_COMMIT
from ottla.broker.wire.schema import Message

logger = logging.getLogger("ottla.broker")

API = TXN_OFFSET_COMMIT
ABORTABLE_SINCE, IMPLICIT_SINCE = 4, 5
METADATA_BYTES_MAX = 4096


def handle(broker: Broker, call: Call) -> Message | None:
    body = call.body
    try:
        journal = _admit(broker, call)
        offsets, codes = _checked(broker, body)
    except (Refused, refusal.Refused) as refused:
        return _answer(body, {}, refused.code)
    except OSError as error:
        logger.error("transaction %s: a group could not be added: %s", body["transactional_id"], error)
        return _answer(body, {}, ErrorCode.COORDINATOR_NOT_AVAILABLE)
    reply = _answer(body, codes, ErrorCode.NONE)
    wait = Wait(lambda: call.reply(reply))
    try:
        if offsets:
            producer_id, epoch = body["producer_id"], body["producer_epoch"]
            broker.coordinator.hold(body["group_id"], producer_id, epoch, offsets, wait.enter())
    except OSError as error:
        logger.error("offsets of group %s could not be written: %s", body["group_id"], error)
        return _answer(body, {}, ErrorCode.COORDINATOR_NOT_AVAILABLE)
    if journal is not None:
        broker.durable(journal, wait.enter())
    wait.leave()
    return None


def _admit(broker: Broker, call: Call) -> Journal | None:
    """Gives what has to be durable. Raises Refused if the group is not part of the producer's transaction; OSError."""
    body, coordinator = call.body, broker.transactions
    group, epoch = body["group_id"], body["producer_epoch"]
    if not group:
        raise Refused(ErrorCode.INVALID_GROUP_ID, "a group id must not be empty")
    try:
        one = coordinator.find(body["transactional_id"], body["producer_id"])
        if call.version >= IMPLICIT_SINCE:
            return coordinator.add(one, epoch, set(), {group}, TV2)
        if coordinator.check_group_added(one, epoch, group):
            return None
    except Refused as refused:
        if refused.code is ErrorCode.PRODUCER_FENCED:
            raise Refused(ErrorCode.INVALID_PRODUCER_EPOCH, str(refused)) from refused
        raise
    abortable = call.version >= ABORTABLE_SINCE
    code = ErrorCode.TRANSACTION_ABORTABLE if abortable else ErrorCode.INVALID_TXN_STATE
    raise Refused(code, f"group {group!r} was not added to the transaction")


def _checked(broker: Broker, body: Message) -> tuple[dict[Partition, Committed], dict[Partition, ErrorCode]]:
    """The offsets to hold, and the codes of those that are refused. Raises groups.refusal.Refused."""
    committer = Committer(body["member_id"], body["group_instance_id"], body["generation_id"], transactional=True)
    check = broker.coordinator.check_commit(body["group_id"], committer)
    offsets: dict[Partition, Committed] = {}
    codes: dict[Partition, ErrorCode] = {}
    for wanted in body["topics"]:
        topic = broker.catalog.topics.get(wanted["name"])
        for part in wanted["partitions"]:
            partition = wanted["name"], part["partition_index"]
            metadata = part["committed_metadata"] or ""
            if topic is None or topic.partition(partition[1]) is None:
                codes[partition] = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            elif len(metadata) > METADATA_BYTES_MAX:
                codes[partition] = ErrorCode.OFFSET_METADATA_TOO_LARGE
            elif refused := check((topic.id, partition[1])):
                codes[partition] = refused
            else:
                offset, epoch = part["committed_offset"], part["committed_leader_epoch"]
                offsets[partition] = Committed(offset, epoch, metadata, now_ms())
    return offsets, codes


def _answer(body: Message, codes: dict[Partition, ErrorCode], otherwise: ErrorCode) -> Message:
    return {
        "topics": [
            {
                "name": wanted["name"],
                "partitions": [
                    {
                        "partition_index": part["partition_index"],
                        "error_code": codes.get((wanted["name"], part["partition_index"]), otherwise),
                    }
                    for part in wanted["partitions"]
                ],
            }
            for wanted in body["topics"]
        ]
    }
