"""The Kafka transaction that all exactly-once partitions of one member write to."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from ottla.errors import KafkaError, ProducerFenced, PublishError, TransactionAborted
from ottla.kafka.record import Message
from ottla.kafka.transactions import REFUSALS, TransactionalProducer
from ottla.listeners.hooks import Observer
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.outputs import Outgoing

Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""

COMMIT_WAIT_S = 0.001
COMMIT_WAIT_S_MAX = 0.05
"""Between two looks whether a commit is over: short at first, for most are over soon."""

POISONED_MAX = 10_000


def commit_waits() -> Iterator[float]:
    """How long to wait before each further look whether a commit is over."""
    wait = COMMIT_WAIT_S
    while True:
        yield wait
        wait = min(2 * wait, COMMIT_WAIT_S_MAX)


class OpenTransaction:
    """Takes what handlers return, until the consumer thread commits it together with the offsets.

    `try_write` is called from handler threads and the event loop, the rest from the consumer thread only.

    Interleaving: a writer looks at `_closing` under the lock, and writes a record's outputs and marks the record as
    finished under that same lock. The committer sets `_closing` and then takes the lock once: from there on nobody is
    inside, and nobody gets in until the commit is over. So the offsets that are committed are exactly those whose
    outputs are in the transaction. The lock is never held while waiting for a broker: an event loop may want it.

    Args:
        open_producer: Makes the producer; called again after one was fenced.
        observer: Told of what was published, once it is committed.
    """

    def __init__(self, open_producer: Callable[[], TransactionalProducer], observer: Observer) -> None:
        self._open_producer = open_producer
        self._observer = observer
        self._producer: TransactionalProducer | None = None
        self._lock = threading.Lock()
        self._closing = True  # until there is a producer
        self._begun = False
        self._written: Counter[str] = Counter()
        self._told: list[Callable[[], None]] = []
        self._refused: dict[Place, str] = {}
        self._poisoned: dict[Place, str] = {}
        self.records = 0
        self.spoiled: KafkaError | None = None
        self.held = False
        """While set nobody may write: a transaction that is begun must be committed before the broker's timeout."""

    @property
    def at_ease(self) -> bool:
        """Whether no record is known whose outputs were refused: `try_write` raises nothing then."""
        return not self._poisoned

    def open(self) -> None:
        """Fences whoever used the transactional id before. Raises as TransactionalProducer does."""
        if self._producer is None:
            self._producer = self._open_producer()
            self._closing = False

    def try_write(
        self,
        message: Message,
        tracker: OffsetTracker,
        outputs: list[Outgoing],
        *,
        partition: int = -1,
        told: Callable[[], None] | None = None,
    ) -> bool:
        """Adds a record's outputs and finishes the record; False if a commit is going on: try again soon.

        Args:
            message: The record.
            tracker: Its partition's. One that was abandoned (the transaction was rolled back while the handler ran)
                takes nothing: the record is handled anew.
            outputs: What to write.
            partition: Where to; -1 goes by the keys.
            told: Called when it is committed.

        Raises:
            PublishError: The broker refused an output of this record when it was written last.
        """
        if outputs and self._poisoned:
            where = message.topic(), message.partition(), message.offset()
            reason = self._poisoned.pop(where, None)
            if reason is not None:
                raise PublishError(reason)
        with self._lock:
            if tracker.abandoned:
                return True
            if self._closing or self.held or self._producer is None:
                return False
            try:
                self._send(self._producer, message, outputs, partition)
            except KafkaError as error:
                # Some of its outputs may be in the transaction already: none of it may be committed.
                if isinstance(error, PublishError):
                    self._refused[message.topic(), message.partition(), message.offset()] = str(error)
                # A fenced producer aborts nothing any more; whoever rolls back must know, or it stays for ever.
                self.spoiled = error if isinstance(error, ProducerFenced) else TransactionAborted(str(error))
                self._closing = True
                return False
            if told is not None:
                self._told.append(told)
            tracker.finished(message.offset())
            self.records += 1
            return True

    def _send(self, producer: TransactionalProducer, message: Message, outputs: list[Outgoing], partition: int) -> None:
        if not self._begun:
            producer.begin()
            self._begun = True
        for one in outputs:
            producer.send(
                one.topic,
                one.value,
                key=one.key,
                headers=one.headers,
                partition=one.partition if partition < 0 else partition,
                on_delivery=partial(self._delivered, message),
            )
            self._written[one.topic] += 1

    def abandon(self, trackers: Iterable[OffsetTracker]) -> None:
        """Takes nothing more for these: their partitions go elsewhere, or begin anew. A handler that is still at work
        may end at any time, and what it returns must not get into a transaction without its offset."""
        with self._lock:
            for tracker in trackers:
                tracker.abandoned = True

    def commit(self, offsets: Callable[[], list[Any]], group: Callable[[], Any]) -> list[Any]:
        """Commits what was written together with the offsets, and gives these; none if there is nothing to commit.

        Args:
            offsets: Asked for the positions once nobody writes any more.
            group: The consumer's group metadata.

        Raises:
            TransactionAborted, ProducerFenced, BrokerUnavailable, KafkaError: It is not committed, or nobody knows:
                call `roll_back`.
        """
        self._close()
        if self.spoiled is not None:
            raise self.spoiled
        positions = offsets()
        if not positions and not self._begun:
            self._closing = False
            return []
        assert self._producer is not None, "open comes first"
        if not self._begun:
            self._producer.begin()
            self._begun = True
        if positions:
            self._producer.send_offsets(positions, group())
        self._producer.commit()
        self._begun = False
        written, told = self._written, self._told
        self._written, self._told, self.records = Counter(), [], 0
        self._closing = False
        for topic, count in written.items():
            self._observer.published(topic, count)
        for tell in told:
            tell()
        return positions

    def roll_back(self, trackers: Iterable[OffsetTracker], error: KafkaError) -> None:
        """Undoes what was written since the last commit.

        Args:
            trackers: Of all exactly-once partitions: abandoned while nobody writes.
            error: What `commit` raised.

        Raises:
            BrokerUnavailable, KafkaError: There is no producer now; `open` tries again.
        """
        self._close()
        self.abandon(trackers)
        producer, self._begun, self.spoiled = self._producer, False, None
        self._written, self._told, self.records = Counter(), [], 0
        if len(self._poisoned) > POISONED_MAX:
            self._poisoned.clear()  # Their partitions went elsewhere.
        self._poisoned.update(self._refused)
        self._refused = {}
        if producer is not None and isinstance(error, TransactionAborted):
            producer.abort()
            self._closing = False
            return
        # Fenced, or nobody knows whether it is committed: a new producer's first step settles it.
        self._producer = None
        if producer is not None and not isinstance(error, ProducerFenced):
            producer.close()
        self.open()

    def close(self) -> None:
        if self._producer is not None:
            self._close()
            if self._begun:
                self._producer.abort()
            self._producer.close()
            self._producer = None

    def _close(self) -> None:
        self._closing = True
        with self._lock:
            """Whoever was writing has written."""

    def _delivered(self, source: Message, error: Any, delivered: Any) -> None:
        if error is not None and self._producer is not None:
            self._producer.must_abort = True
        if error is not None and error.name() in REFUSALS:
            where = source.topic(), source.partition(), source.offset()
            self._refused[where] = f"topic {delivered.topic()} refused what was returned for {where}: {error.str()}"
