"""One assigned partition: its waiting records, handled one after the other."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Executor

from ottla.kafka.record import Message
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.record import RecordProcessor
from ottla.listeners.steps import walk, walk_async

TURN_RECORDS = 200
"""Records a sync partition handles before it gives its thread to the next one."""

TURN_BATCHES = 4
"""Batches it handles, where handlers take batches."""


class PartitionWorker:
    """Handles the records of one partition in their order.

    A task on the event loop waits for records. Sync handlers run in the executor, many records a turn, so that the
    hop between threads is paid once per turn; async handlers run in the task itself.
    """

    def __init__(
        self, topic: str, partition: int, processor: RecordProcessor, executor: Executor, *, is_async: bool, batch: int
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.tracker = OffsetTracker()
        self.paused = False
        self._processor = processor
        self._executor = executor
        self._is_async = is_async
        self._batch = batch
        self._queue: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._stopping = asyncio.Event()
        self._stopping_thread = threading.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """On the event loop."""
        self._task = asyncio.create_task(self._run(), name=f"ottla {self.topic}[{self.partition}]")

    def feed(self, messages: list[Message]) -> None:
        """On the event loop. The tracker has been told of these records already."""
        self._queue.extend(messages)
        self._arrived.set()

    async def stop(self) -> None:
        """Finishes the record in hand (a record waiting for a retry is given up), leaves the rest, and returns."""
        self._stopping_thread.set()
        self._stopping.set()
        self._arrived.set()
        if self._task is not None:
            await self._task

    def cancel(self) -> None:
        """Gives up at once, for a partition that is lost or a deadline that has passed."""
        self._stopping_thread.set()
        self._stopping.set()
        if self._task is not None:
            self._task.cancel()

    @property
    def died(self) -> BaseException | None:
        """What ended the task, if anything but a stop did. Handlers' exceptions never do."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            if not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            if self._is_async:
                await walk_async(self._processor.way(self._take(), self.tracker), self._stopping)
            else:
                await loop.run_in_executor(self._executor, self._turn)

    def _turn(self) -> None:
        for _ in range(TURN_RECORDS if self._batch == 1 else TURN_BATCHES):
            if not self._queue or self._stopping_thread.is_set():
                return
            walk(self._processor.way(self._take(), self.tracker), self._stopping_thread)

    def _take(self) -> list[Message]:
        """The next records: never waits for more than there are."""
        queue = self._queue
        return [queue.popleft() for _ in range(min(self._batch, len(queue)))]
