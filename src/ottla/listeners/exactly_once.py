"""Commits handlers' outputs and offsets together, and undoes and repeats them together.

Belongs to the consumer thread. A record that goes to a partition is kept until the transaction that finishes it is
committed; if that is rolled back, the partition gets a new worker, which is given the kept records again from the
committed position on. Where the outcome is unknown (the broker went away while it was committing) the broker is asked
for the committed position first: what was committed is not handled again.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from ottla.errors import BrokerUnavailable, KafkaError, TransactionAborted
from ottla.kafka.consumer import TopicPartition
from ottla.kafka.record import Message
from ottla.listeners.hooks import Conditions
from ottla.listeners.partition import Partition
from ottla.listeners.transaction import OpenTransaction

Place = tuple[str, int]

CONDITION = "transaction"
AGAIN_S = 0.2
AGAIN_S_MAX = 5.0
COMMITTED_S = 10.0
"""How long an assignment, or a rollback, waits to learn what was committed."""

WINDOW = 600
"""Records of a partition in hand where several are at once: whichever of them are finished fits into the metadata of a
commit, which exactly-once cannot do without."""

WAITING_WINDOW = 100
"""The same where records wait for others of their key: many more are finished behind those (`parked`)."""

FEED = 300
"""... with as many taken from the client library at once."""


class ExactlyOnce:
    """The exactly-once partitions of one member.

    Args:
        transaction: What they write to.
        conditions: Told while transactions fail.
        log: For what the operator should know.
        interval_s: Time from one commit to the next.
        records_max: Records after which it is time to commit, whatever the clock says.
        drain_s: How long a rollback waits for handlers that are at work.
    """

    def __init__(
        self,
        transaction: OpenTransaction,
        *,
        conditions: Conditions,
        log: logging.Logger,
        interval_s: float,
        records_max: int,
        drain_s: float,
    ) -> None:
        self.transaction = transaction
        self._conditions = conditions
        self._log = log
        self._interval_s = interval_s
        self._records_max = records_max
        self._drain_s = drain_s
        self._kept: dict[Place, deque[Message]] = {}
        self._next_commit = 0.0
        self._failures = 0
        self._broken: KafkaError | None = None
        self.consumer: Any = None
        self.shelve: Callable[[Place, list[Message]], bool] = lambda _place, _messages: False
        """Asked at a rollback for each partition: True if its kept records are taken over, to be fed later."""

    def knows(self, place: Place) -> bool:
        return place in self._kept

    def assigned(self, place: Place) -> None:
        self._kept[place] = deque()

    def received(self, place: Place, messages: list[Message]) -> None:
        """Keeps records that are about to be fed."""
        self._kept[place].extend(messages)

    def distrust(self, error: KafkaError) -> None:
        """What is finished in partitions that have just come is not known: whatever is handled until it is, is undone
        and handled anew."""
        self._failed(error)

    def leaving(self, workers: dict[Place, Partition]) -> None:
        """Partitions are being given back: what their handlers have returned by now is committed, and nothing more."""
        self.transaction.abandon(worker.tracker for place, worker in workers.items() if place in self._kept)

    def gone(self, place: Place) -> None:
        self._kept.pop(place, None)

    def lost(
        self, gone: dict[Place, Partition], workers: dict[Place, Partition], again: Callable[[Place], Partition]
    ) -> None:
        """Partitions went to another member: what was written for them may not be committed, so nothing is.

        Args:
            gone: The partitions, with their workers, which are not among `workers` any more.
            workers, again: As `commit` takes them.
        """
        mine = [place for place in gone if place in self._kept]
        self.leaving(gone)
        for place in mine:
            self.gone(place)
        if mine:
            self._broken = self._broken or TransactionAborted("the group gave partitions of this member to another")
            self.commit(workers, again)

    def due(self) -> bool:
        """Whether it is time to commit."""
        return time.monotonic() >= self._next_commit or (
            self._broken is None
            and (self.transaction.records >= self._records_max or self.transaction.spoiled is not None)
        )

    def open(self) -> None:
        """Waits for nothing: where no coordinator answers, the next round tries again."""
        try:
            self.transaction.open()
            self._conditions.clear_condition(CONDITION)
        except KafkaError as error:
            self._failed(error)

    def commit(
        self, workers: dict[Place, Partition], again: Callable[[Place], Partition], *, leaving: Iterable[Place] = ()
    ) -> None:
        """Commits what is finished; on failure undoes it and begins anew.

        Args:
            workers: All partitions of the member; new workers are put in place of the old ones on failure.
            again: Makes a new worker for a partition.
            leaving: Partitions that are being given back: they get no new worker.
        """
        mine = {place: worker for place, worker in workers.items() if place in self._kept}
        self._next_commit = time.monotonic() + self._interval_s
        self.transaction.held = False
        try:
            if self._broken is None:
                self.transaction.open()
                self._committed(
                    self.transaction.commit(lambda: _positions(mine), self.consumer.consumer_group_metadata)
                )
            else:
                self._roll_back(mine, workers, again, set(leaving))
        except KafkaError as error:
            self._failed(error)
            try:
                self._roll_back(mine, workers, again, set(leaving))
            except KafkaError as still:
                self._failed(still)

    def _committed(self, positions: list[Any]) -> None:
        # By what was committed, and not by how far the partitions are: they have gone on meanwhile.
        for one in positions:
            kept = self._kept[one.topic, one.partition]
            while kept and kept[0].offset() < one.offset:
                kept.popleft()
        if self._failures and positions:
            self._failures = 0
            self._conditions.clear_condition(CONDITION)

    def _failed(self, error: KafkaError) -> None:
        self._broken = error
        self._failures += 1
        wait = min(AGAIN_S * 2 ** (self._failures - 1), AGAIN_S_MAX)
        self._next_commit = time.monotonic() + wait
        # What is written meanwhile would be open for all of the wait, which may be longer than the broker lets a
        # transaction be: it would be aborted over our heads, its producer fenced, and so on for ever.
        self.transaction.held = True
        self._log.warning("a transaction was not committed, its records are handled again: %s", error)
        if self._failures > 1 or isinstance(error, BrokerUnavailable):
            self._conditions.raise_condition(CONDITION, f"transactions are not committed: {error}")

    def _roll_back(
        self,
        mine: dict[Place, Partition],
        workers: dict[Place, Partition],
        again: Callable[[Place], Partition],
        leaving: set[Place],
    ) -> None:
        """Puts new workers in the old ones' place, at what is committed. Raises KafkaError; then it is to be called
        again."""
        error = self._broken
        assert error is not None
        deadline = time.monotonic() + self._drain_s
        for worker in mine.values():
            worker.stop()
        for worker in mine.values():
            if not worker.wait_stopped(max(0.0, deadline - time.monotonic())):
                worker.cancel()

        self.transaction.roll_back([worker.tracker for worker in mine.values()], error)
        staying = [place for place in mine if place not in leaving]
        committed = read_committed(self.consumer, staying)
        for place in staying:
            fresh = workers[place] = again(place)
            fresh.paused = mine[place].paused
            position, metadata = committed.get(place, (-1, None))
            kept = self._kept[place]
            while kept and kept[0].offset() < position:
                kept.popleft()
            if position >= 0:
                fresh.tracker.restore(position, metadata)
            fresh.start()
            if self.shelve(place, list(kept)):
                kept.clear()
            else:
                feed(fresh, list(kept))
        self._broken = None

    def close(self) -> None:
        self.transaction.close()


def read_committed(consumer: Any, places: list[Place]) -> dict[Place, tuple[int, str | None]]:
    """Offset and metadata that the group has committed for each place; those that have none are left out.

    Raises:
        BrokerUnavailable: They cannot be had.
    """
    if not places:
        return {}
    try:
        found = consumer.committed([TopicPartition(*place) for place in places], timeout=COMMITTED_S)
    except Exception as error:
        raise BrokerUnavailable(f"the committed offsets cannot be read: {error}") from error
    faulty = next((one.error for one in found if one.error), None)
    if faulty is not None:
        raise BrokerUnavailable(f"the committed offsets cannot be read: {faulty}")
    return {(one.topic, one.partition): (one.offset, one.metadata) for one in found if one.offset >= 0}


def feed(worker: Partition, messages: list[Message]) -> None:
    """Gives a worker records, but for those that were finished before its partition came here."""
    if not messages:
        return
    again = worker.tracker.received([message.offset() for message in messages])
    worker.feed([one for one in messages if one.offset() not in again] if again else messages)


def _positions(workers: dict[Place, Partition]) -> list[Any]:
    positions = []
    for (topic, partition), worker in workers.items():
        progress = worker.tracker.to_commit()
        if progress is not None:
            positions.append(TopicPartition(topic, partition, progress.offset, progress.metadata))
    return positions
