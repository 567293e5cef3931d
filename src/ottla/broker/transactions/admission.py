"""Whether a transactional batch may be written: Produce, by what its version lets the client understand.

    up to version 10    INVALID_TXN_STATE if the partition was not added to the open transaction
    version 11          TRANSACTION_ABORTABLE for the same: the client knows to abort and go on
    from version 12     the partition is added by this (transaction.version 2, KIP-890)
For all: INVALID_PRODUCER_EPOCH for a producer that was fenced, INVALID_PRODUCER_ID_MAPPING if the transactional id is
another producer's, TRANSACTIONAL_ID_AUTHORIZATION_FAILED if there is none. While the transaction before is being ended,
NOT_ENOUGH_REPLICAS, which every client tries again; from version 12 CONCURRENT_TRANSACTIONS. From version 12 on, too,
what a producer writes first to a partition that knows nothing of it must begin at sequence 0
(OUT_OF_ORDER_SEQUENCE_NUMBER): else a batch before it was lost. For all versions the same is answered where the first
batch of a transaction was refused, and a later one comes in its place.
"""

from __future__ import annotations

from ottla.broker.log.batch import BatchHeader
from ottla.broker.log.journal import Journal
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.producers import Refused
from ottla.broker.transactions import transaction
from ottla.broker.transactions.coordinator import TransactionCoordinator
from ottla.broker.transactions.transaction import TV2, Partition
from ottla.broker.wire.errors import ErrorCode

ABORTABLE_SINCE, IMPLICIT_SINCE = 11, 12


def admit(
    coordinator: TransactionCoordinator,
    transactional_id: str | None,
    header: BatchHeader,
    log: PartitionLog,
    partition: Partition,
    version: int,
) -> Journal | None:
    """Lets a transactional batch pass.

    Args:
        coordinator: Knows the transactions.
        transactional_id: Of the request.
        header: Of the batch.
        log, partition: Where it is to be written.
        version: Of Produce.

    Returns:
        What has to be durable before the batch is acknowledged, beside itself; None if nothing.

    Raises:
        Refused: The batch must not be written.
        OSError: The partition could not be added; nothing was written.
    """
    if transactional_id is None:
        message = "a transactional batch needs a request with a transactional id"
        raise Refused(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, message)
    state = log.producers.states.get(header.producer_id)
    if state is not None and header.producer_epoch < state.epoch:
        message = f"producer {header.producer_id} is at epoch {state.epoch}, the batch is of {header.producer_epoch}"
        raise Refused(ErrorCode.INVALID_PRODUCER_EPOCH, message)
    if header.producer_id not in log.transactions.open:
        log.producers.attempt(header)
    try:
        one = coordinator.find(transactional_id, header.producer_id)
        if version >= IMPLICIT_SINCE:
            if header.base_sequence != 0 and state is None:
                message = f"producer {header.producer_id} begins here with sequence {header.base_sequence}, not with 0"
                raise Refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, message)
            return coordinator.add(one, header.producer_epoch, {partition}, set(), TV2)
        if coordinator.check_added(one, header.producer_epoch, partition):
            return None
    except transaction.Refused as refused:
        raise Refused(_code(refused.code, version), str(refused)) from refused
    abortable = version >= ABORTABLE_SINCE
    code = ErrorCode.TRANSACTION_ABORTABLE if abortable else ErrorCode.INVALID_TXN_STATE
    raise Refused(code, "Partition was not added to the transaction")


def _code(code: ErrorCode, version: int) -> ErrorCode:
    if code is ErrorCode.PRODUCER_FENCED:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    if code is ErrorCode.CONCURRENT_TRANSACTIONS and version < IMPLICIT_SINCE:
        return ErrorCode.NOT_ENOUGH_REPLICAS
    return code
