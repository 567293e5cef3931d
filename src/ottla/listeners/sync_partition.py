"""A partition whose handlers are plain functions: it takes turns on the handler threads."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Executor

from ottla.kafka.record import Message
from ottla.listeners.express import RECORDS
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.record import RecordProcessor
from ottla.listeners.steps import walk

TURNS = 4
"""Batches, or as many records as go on the express at once, that it handles before it gives its thread to the next
partition."""


class SyncPartition:
    """See `Partition` for the contract.

    The event loop has no part in this: records go from the consumer thread straight to a handler thread, and many of
    them in one turn, so that a record costs a fraction of a switch between threads.

    Interleaving: `feed` adds records and then, under the lock, looks whether a turn is scheduled; a turn looks, under
    the same lock, whether records are left before it ends. Whichever comes second sees the other's work, so records
    are never left without a turn, and there are never two turns at once.
    """

    def __init__(
        self,
        topic: str,
        partition: int,
        processor: RecordProcessor,
        executor: Executor,
        batch: int,
        *,
        remember: bool = False,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.tracker = OffsetTracker(remember=remember)
        self.paused = False
        self.died: BaseException | None = None
        self._processor = processor
        self._executor = executor
        self._batch = batch
        self._queue: deque[Message] = deque()
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._scheduled = False

    def start(self) -> None:
        """Nothing to do: turns are scheduled as records arrive."""

    def feed(self, messages: list[Message]) -> None:
        self._queue.extend(messages)
        with self._changed:
            if self._scheduled or self._stopping.is_set():
                return
            self._scheduled = True
        self._executor.submit(self._turn)

    def stop(self) -> None:
        self._stopping.set()

    def wait_stopped(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._scheduled, timeout_s)

    def cancel(self) -> None:
        self._stopping.set()

    def _turn(self) -> None:
        try:
            for _ in range(TURNS):
                if not self._queue or self._stopping.is_set():
                    break
                if self._batch == 1:
                    self._one_by_one(self._take(RECORDS))
                else:
                    walk(self._processor.way(self._take(self._batch), self.tracker), self._stopping)
        except BaseException as error:
            self.died = error
        with self._changed:
            if self._queue and not self._stopping.is_set() and self.died is None:
                self._executor.submit(self._turn)
            else:
                self._scheduled = False
                self._changed.notify_all()

    def _one_by_one(self, left: list[Message]) -> None:
        """Handles records until they are done with, or the partition is given up."""
        express, tracker, stopping = self._processor.express, self.tracker, self._stopping
        while left and not stopping.is_set():
            trip = express.board(left, tracker, is_async=False)
            if trip is None:
                if not walk(self._processor.way(left[:1], tracker), stopping):
                    return
                left = left[1:]
                continue
            while (way := trip.walk(stopping)) is not None:
                if not walk(way, stopping):
                    return
                if tracker.parked:
                    break  # It was moved to a retry topic: what comes after it may have to wait.
            left = left[trip.done :]

    def _take(self, most: int) -> list[Message]:
        """The next records: never waits for more than there are."""
        queue = self._queue
        return [queue.popleft() for _ in range(min(most, len(queue)))]
