"""A partition of which several records are in hand at once, with plain functions for handlers."""

from __future__ import annotations

import threading
from concurrent.futures import Executor

from ottla.kafka.record import Message
from ottla.listeners.lanes import Lanes
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.order import Order
from ottla.listeners.record import RecordProcessor
from ottla.listeners.steps import walk

TURN_RECORDS = 50
"""Records a worker handles before its thread is offered to other partitions."""


class SyncLanes:
    """See `Partition` for the contract.

    Interleaving: a worker ends under the lock in which it saw that nothing is ready, and `feed` adds records and counts
    workers under the same lock. So no record is ready without a worker, unless as many as may run are busy; and a
    worker that makes the next record of its key ready takes a record itself.
    """

    def __init__(
        self, topic: str, partition: int, processor: RecordProcessor, executor: Executor, order: Order
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.tracker = OffsetTracker(remember=True)
        self.paused = False
        self.died: BaseException | None = None
        self._processor = processor
        self._executor = executor
        self._parallel = order.parallel
        self._lanes = Lanes(order.by_key)
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._workers = 0

    def start(self) -> None:
        """Nothing to do: workers are scheduled as records arrive."""

    def feed(self, messages: list[Message]) -> None:
        with self._changed:
            if self._stopping.is_set():
                return
            self._lanes.add(messages)
            more = min(self._lanes.ready, self._parallel - self._workers)
            self._workers += more
        for _ in range(more):
            self._executor.submit(self._work)

    def stop(self) -> None:
        self._stopping.set()

    def wait_stopped(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._workers == 0, timeout_s)

    def cancel(self) -> None:
        self._stopping.set()

    def _work(self) -> None:
        finished: Message | None = None
        try:
            for _ in range(TURN_RECORDS):
                message = self._next(finished)
                if message is None:
                    return
                finished = None
                if walk(self._processor.way([message], self.tracker), self._stopping):
                    # A record that was given up keeps its key: what waits behind it must not overtake it.
                    finished = message
        except BaseException as error:
            self.died = error
            self._end_worker()
            return
        with self._changed:
            if finished is not None:
                self._lanes.done(finished)
        self._executor.submit(self._work)

    def _next(self, finished: Message | None) -> Message | None:
        """The next record to handle; None if this worker is to end, and is counted no more."""
        with self._changed:
            if finished is not None:
                self._lanes.done(finished)
            message = None if self._stopping.is_set() or self.died is not None else self._lanes.take()
            if message is None:
                self._workers -= 1
                self._changed.notify_all()
            return message

    def _end_worker(self) -> None:
        with self._changed:
            self._workers -= 1
            self._changed.notify_all()
