"""Who speaks for a transactional id: rules of producer ids and epochs (KIP-360, KIP-890)."""

from __future__ import annotations

from collections.abc import Callable

from ottla.broker.transactions.transaction import EPOCH_LAST, NO_EPOCH, Refused, State, Transaction
from ottla.broker.wire.errors import ErrorCode

Identity = tuple[int, int]  # producer id, epoch


def fenced(one: Transaction) -> Refused:
    """The answer to a producer whose epoch is not the current one."""
    message = f"the producer of transactional id {one.id!r} is at epoch {one.epoch} by now"
    return Refused(ErrorCode.PRODUCER_FENCED, message)


def check_expected(one: Transaction, expected: Identity) -> None:
    """Raises Refused (PRODUCER_FENCED) if a producer that wants to go on has another's producer id."""
    producer_id, epoch = expected
    # With its epochs used up it was given a new id, and may not have heard of it.
    retried = producer_id == one.previous_producer_id and epoch >= EPOCH_LAST
    if producer_id != one.producer_id and not retried:
        raise fenced(one)


def next_epoch(one: Transaction, expected: Identity | None, new_id: Callable[[], int]) -> tuple[int, int, int]:
    """What InitProducerId gives: producer id, epoch, and the epoch that may ask for the same again.

    Args:
        one: The transactional id, with nothing open.
        expected: What a producer that goes on after an error has; None for one that starts.
        new_id: Gives a new producer id, for when the epochs are used up.

    Raises:
        Refused: PRODUCER_FENCED.
    """
    if one.is_exhausted and (expected is None or expected[1] == one.epoch):
        return new_id(), 0, NO_EPOCH if expected is None else one.epoch
    if expected is None:
        return one.producer_id, one.epoch + 1, NO_EPOCH
    if one.epoch in (NO_EPOCH, expected[1]):
        return one.producer_id, one.epoch + 1, one.epoch
    if expected[1] == one.last_epoch:
        return one.producer_id, one.epoch, one.last_epoch  # asked before, and the answer was lost
    raise fenced(one)


def is_late_end(one: Transaction, asking: Identity) -> bool:
    """Whether an EndTxn (version 2) is for the transaction before: it still has the epoch from before the bump."""
    if one.state in (State.EMPTY, State.ONGOING):
        return False
    producer_id, epoch = asking
    if producer_id == one.producer_id and epoch + 1 == one.epoch:
        return True
    return producer_id == one.previous_producer_id and epoch == EPOCH_LAST and one.epoch == 0
