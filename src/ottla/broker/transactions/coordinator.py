"""The transaction coordinator: who may produce under a transactional id, and how transactions end (KIP-98, 360, 890).

An end is decided in two steps. First the decision is written to the journal; only when it is durable are the markers
written to every partition and group of the transaction, and only when they are durable is it complete. A crash before
the first step leaves the transaction open, to be timed out; a crash after it leaves a decision that is carried out at
the next start, wherever the marker is still missing. So either all partitions and offsets have it, or none.

The states and answers are Kafka's. What Kafka does in the background after it has answered EndTxn, the writing of
markers, is done here before the answer: whoever has been told of a commit reads it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from ottla.broker.log.control import Marker
from ottla.broker.log.flusher import Syncable
from ottla.broker.log.journal import Journal
from ottla.broker.transactions.epochs import Identity, check_expected, fenced, is_late_end, next_epoch
from ottla.broker.transactions.register import Register
from ottla.broker.transactions.transaction import (
    EPOCH_MAX,
    NO_EPOCH,
    NO_PRODUCER_ID,
    TV2,
    Partition,
    Refused,
    Start,
    State,
    Transaction,
)
from ottla.broker.wire.errors import ErrorCode

logger = logging.getLogger("ottla.broker")

Callback = Callable[[], None]
Ended = Callable[[ErrorCode, int, int], None]
RETRY_S = 1.0


class Clock(Protocol):
    """Timers; the event loop, or a test's."""

    def call_later(self, seconds: float, callback: Callback) -> object: ...


class Markers(Protocol):
    """Where a decision is made known: partitions' logs and groups' pending offsets."""

    def write(self, one: Transaction, done: Callback) -> None:
        """Writes the marker of a prepared transaction to all it touches, then calls `done` when they are durable.

        What has it is taken out of the unmarked partitions and groups. Raises OSError: some may have it.
        """

    def start_in(self, partition: Partition) -> Start:
        """Where a transaction begins that takes in the partition now: at the end of what is durable of it."""

    def settle(self, register: Register) -> None:
        """After a start: finds what the logs and groups say is open, and squares it with the register."""


class TransactionCoordinator:
    """All transactional ids of the broker. Belongs to the event loop's thread.

    Args:
        folder: Where the journal is kept.
        clock: Timers.
        now_ms: The wall clock: transactions outlive the process.
        durable: Calls back once what was written to a journal is as durable as the flush policy promises.
        markers: Writes markers.
        next_producer_id: Gives an id never given before; durable no later than the next `durable` of the register.
        timeout_max_ms: The longest timeout that a producer may ask for.
        expiration_ms: Ids that were not used for so long are forgotten.
        check_interval_ms: How often timeouts are looked for.

    Raises:
        CorruptLog: The journal is damaged.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        now_ms: Callable[[], int],
        durable: Callable[[Syncable, Callback], None],
        markers: Markers,
        next_producer_id: Callable[[], int],
        *,
        timeout_max_ms: int,
        expiration_ms: int,
        check_interval_ms: int,
    ) -> None:
        self.register = Register(folder)
        self._clock = clock
        self._now_ms = now_ms
        self._durable = durable
        self._markers = markers
        self._next_producer_id = next_producer_id
        self._timeout_max_ms = timeout_max_ms
        self._expiration_ms = expiration_ms
        self._check_interval_s = check_interval_ms / 1000
        self._checking = False

    def resume(self) -> None:
        """Takes up what a stop or a crash has left: carries out decisions, and lets open transactions time out."""
        self._markers.settle(self.register)
        for one in list(self.register.by_id.values()):
            if one.is_prepared:
                logger.info("transaction %s: writing the markers of %s that are missing", one.id, one.state.value)
                # What was read may have been in the system's cache only: the decision comes before its markers.
                self._durable(self.register.journal, partial(self._carry_out, one, lambda *_: None))
            elif one.state is State.ONGOING:
                self._watch_timeouts()

    def find(self, transactional_id: str | None, producer_id: int) -> Transaction:
        """The transaction of a producer. Raises Refused: INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING."""
        if not transactional_id:
            raise Refused(ErrorCode.INVALID_REQUEST, "a transactional id must not be empty")
        one = self.register.by_id.get(transactional_id)
        if one is None or one.producer_id != producer_id:
            held = f"belongs to producer {one.producer_id}" if one else "is unknown"
            message = f"transactional id {transactional_id!r} {held}, not to producer {producer_id}"
            raise Refused(ErrorCode.INVALID_PRODUCER_ID_MAPPING, message)
        return one

    # A producer begins

    def initialise(
        self, transactional_id: str, timeout_ms: int, expected: Identity | None, done: Callable[[int, int], None]
    ) -> None:
        """Gives a producer its id and an epoch above all before, which fences whoever had the id until now.

        Args:
            transactional_id: Not empty.
            timeout_ms: After this a transaction is aborted.
            expected: Producer id and epoch of a producer that goes on after an error; None for one that starts.
            done: Called with producer id and epoch, once they are durable.

        Raises:
            Refused: INVALID_TRANSACTION_TIMEOUT; PRODUCER_FENCED if `expected` is outdated; CONCURRENT_TRANSACTIONS
                while a transaction ends, and after an open one has been aborted: the caller asks again.
            OSError: Nothing was changed.
        """
        if not 0 < timeout_ms <= self._timeout_max_ms:
            message = f"transaction.timeout.ms must be from 1 to {self._timeout_max_ms}, not {timeout_ms}"
            raise Refused(ErrorCode.INVALID_TRANSACTION_TIMEOUT, message)
        one = self.register.by_id.get(transactional_id)
        if one is None:
            one = Transaction(transactional_id, self._next_producer_id())
        elif expected is not None:
            check_expected(one, expected)
        if one.is_prepared:
            raise Refused(ErrorCode.CONCURRENT_TRANSACTIONS, f"the transaction of {one.id!r} is being ended")
        if one.state is State.ONGOING:
            self.fence(one)
            raise Refused(ErrorCode.CONCURRENT_TRANSACTIONS, f"the open transaction of {one.id!r} is being aborted")
        producer_id, epoch, last_epoch = next_epoch(one, expected, self._next_producer_id)
        self.register.initialise(one, producer_id, epoch, last_epoch, timeout_ms, self._now_ms())
        self._durable(self.register.journal, lambda: done(producer_id, epoch))

    def fence(self, one: Transaction) -> None:
        """Aborts an open transaction over its producer's head: what that one sends from now on is refused.

        Raises:
            OSError: Nothing was changed.
        """
        epoch = min(one.epoch + 1, EPOCH_MAX)
        self.register.prepare(one, Marker.ABORT, epoch, one.epoch, NO_PRODUCER_ID, one.version, self._now_ms())
        self._durable(self.register.journal, lambda: self._carry_out(one, lambda *_: None))

    # A transaction grows

    def check_open_for(self, one: Transaction, epoch: int) -> None:
        """Raises Refused (PRODUCER_FENCED, CONCURRENT_TRANSACTIONS) if a producer may not add to its transaction."""
        if one.epoch != epoch:
            raise fenced(one)
        if one.is_prepared:
            raise Refused(ErrorCode.CONCURRENT_TRANSACTIONS, f"the transaction of {one.id!r} is being ended")

    def add(
        self, one: Transaction, epoch: int, partitions: set[Partition], groups: set[str], version: int
    ) -> Journal | None:
        """Takes partitions and groups into a producer's transaction, and begins it if there is none.

        Returns:
            What has to be durable before anybody is told; None if nothing was new.

        Raises:
            Refused: See `check_open_for`.
            OSError: Nothing was changed.
        """
        self.check_open_for(one, epoch)
        if one.state is State.ONGOING and partitions <= one.partitions and groups <= one.groups:
            return None
        starts = {partition: self._markers.start_in(partition) for partition in partitions - one.partitions}
        self.register.add(one, starts, groups - one.groups, version, self._now_ms())
        self._watch_timeouts()
        return self.register.journal

    def check_added(self, one: Transaction, epoch: int, partition: Partition) -> bool:
        """Whether a partition is part of a producer's transaction. Raises Refused; see `check_open_for`."""
        self.check_open_for(one, epoch)
        return one.state is State.ONGOING and partition in one.partitions

    def check_group_added(self, one: Transaction, epoch: int, group: str) -> bool:
        """Whether a group's offsets are part of a producer's transaction. Raises Refused; see `check_open_for`."""
        self.check_open_for(one, epoch)
        return one.state is State.ONGOING and group in one.groups

    # A transaction ends

    def end(
        self, transactional_id: str, producer_id: int, epoch: int, marker: Marker, version: int, done: Ended
    ) -> None:
        """Commits or aborts. `done` gets the code, and producer id and epoch from now on (version 2; else -1, -1).

        Args:
            transactional_id: Not empty.
            producer_id, epoch: Of the producer that asks.
            marker: What it wants.
            version: 2 if its client speaks transaction.version 2: each end gives it a new epoch.
            done: Called once markers and offsets are durable, or at once for a repeated request.

        Raises:
            Refused: Kafka's answers: INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, INVALID_TXN_STATE,
                CONCURRENT_TRANSACTIONS.
            OSError: Nothing was changed.
        """
        one = self.register.by_id.get(transactional_id)
        retried = one is not None and version >= TV2 and is_late_end(one, (producer_id, epoch))
        if one is None or not retried:
            one = self.find(transactional_id, producer_id)
            if one.epoch != epoch:
                raise fenced(one)
        if one.is_prepared:
            if version >= TV2 and not retried:
                raise fenced(one)
            self._check_same(one, marker, State.PREPARE_COMMIT)
            raise Refused(ErrorCode.CONCURRENT_TRANSACTIONS, f"the transaction of {one.id!r} is being ended")
        if one.state is not State.ONGOING and (retried or version < TV2):
            if one.state is State.EMPTY:
                raise _wrong_state(one, marker)
            self._check_same(one, marker, State.COMPLETE_COMMIT)
            _tell(done, one, version)
            return
        if one.state is not State.ONGOING and marker is Marker.COMMIT:
            raise _wrong_state(one, marker)
        self._decide(one, marker, version, done)

    def _check_same(self, one: Transaction, marker: Marker, committed: State) -> None:
        if (marker is Marker.COMMIT) != (one.state is committed):
            raise _wrong_state(one, marker)

    def _decide(self, one: Transaction, marker: Marker, version: int, done: Ended) -> None:
        epoch, last_epoch, next_producer_id = one.epoch, one.last_epoch, NO_PRODUCER_ID
        if version >= TV2:
            if one.is_exhausted:
                next_producer_id = self._next_producer_id()
            epoch, last_epoch = min(one.epoch + 1, EPOCH_MAX), one.epoch
        self.register.prepare(one, marker, epoch, last_epoch, next_producer_id, version, self._now_ms())
        self._durable(self.register.journal, lambda: self._carry_out(one, done))

    def _carry_out(self, one: Transaction, done: Ended) -> None:
        """Writes the markers of a decision that is durable. Whatever goes wrong, it is tried until it is done."""
        try:
            self._markers.write(one, lambda: self._complete(one, done))
        except OSError as error:
            logger.error("transaction %s: markers could not be written, trying again: %s", one.id, error)
            self._clock.call_later(RETRY_S, lambda: self._carry_out(one, done))

    def _complete(self, one: Transaction, done: Ended) -> None:
        try:
            self.register.complete(one, self._now_ms())
        except OSError as error:
            logger.error("transaction %s: its completion could not be written, trying again: %s", one.id, error)
            self._clock.call_later(RETRY_S, lambda: self._complete(one, done))
            return
        if one.version >= TV2:
            # Not waited for: found prepared after a crash, the transaction is completed again. What its producer has
            # written since is at a later epoch, and so is not taken for a part of it.
            _tell(done, one, one.version)
        else:
            # The next transaction has the same epoch. If it begins by producing (a client may mix the versions), its
            # records could be on the disk without this, and after a crash they would get this transaction's marker.
            self._durable(self.register.journal, lambda: _tell(done, one, one.version))

    # Time

    def _watch_timeouts(self) -> None:
        if not self._checking:
            self._checking = True
            self._clock.call_later(self._check_interval_s, self._check_timeouts)

    def _check_timeouts(self) -> None:
        """Aborts what is open for too long. Looks only while something is open, so that an idle broker sleeps."""
        self._checking = False
        now = self._now_ms()
        for one in self.register.by_id.values():
            if one.state is not State.ONGOING:
                continue
            if one.started_at + one.timeout_ms <= now:
                logger.warning("transaction %s: aborted, it was open for over %d ms", one.id, one.timeout_ms)
                try:
                    self.fence(one)
                    continue
                except OSError as error:
                    logger.error("transaction %s: could not be aborted, trying again: %s", one.id, error)
            self._watch_timeouts()

    def expire(self) -> None:
        """Forgets transactional ids that nobody has used for long, unless something of theirs is open."""
        limit = self._now_ms() - self._expiration_ms
        for one in list(self.register.by_id.values()):
            if one.updated_at < limit and one.state is not State.ONGOING and not one.is_prepared:
                self.register.forget(one)


def _tell(done: Ended, one: Transaction, version: int) -> None:
    told = (one.producer_id, one.epoch) if version >= TV2 else (NO_PRODUCER_ID, NO_EPOCH)
    done(ErrorCode.NONE, *told)


def _wrong_state(one: Transaction, marker: Marker) -> Refused:
    message = f"the transaction of {one.id!r} is {one.state.value}: no {marker.name} is possible"
    return Refused(ErrorCode.INVALID_TXN_STATE, message)
