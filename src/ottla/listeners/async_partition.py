"""A partition whose handlers are coroutine functions (or some of them): a task on the event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections import deque

from ottla.kafka.record import Message
from ottla.listeners.express import RECORDS
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.record import RecordProcessor
from ottla.listeners.steps import walk_async


class AsyncPartition:
    """See `Partition` for the contract. Everything but the tracker lives on the event loop."""

    def __init__(
        self,
        topic: str,
        partition: int,
        processor: RecordProcessor,
        loop: asyncio.AbstractEventLoop,
        threads: concurrent.futures.Executor,
        batch: int,
        *,
        remember: bool = False,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.tracker = OffsetTracker(remember=remember)
        self.paused = False
        self._processor = processor
        self._loop = loop
        self._threads = threads
        self._batch = batch
        self._queue: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._stopping = asyncio.Event()
        self._done: concurrent.futures.Future[None] | None = None

    def start(self) -> None:
        self._done = asyncio.run_coroutine_threadsafe(self._run(), self._loop)

    def feed(self, messages: list[Message]) -> None:
        self._on_loop(self._add, messages)

    def stop(self) -> None:
        self._on_loop(self._end)

    def wait_stopped(self, timeout_s: float) -> bool:
        if self._done is None:
            return True
        return not concurrent.futures.wait([self._done], timeout_s).not_done

    def cancel(self) -> None:
        self.stop()
        if self._done is not None:
            self._done.cancel()

    @property
    def died(self) -> BaseException | None:
        if self._done is None or not self._done.done() or self._done.cancelled():
            return None
        return self._done.exception()

    def _on_loop(self, function: object, *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)  # type: ignore[arg-type]  # typed by its callers

    def _add(self, messages: list[Message]) -> None:
        self._queue.extend(messages)
        self._arrived.set()

    def _end(self) -> None:
        self._stopping.set()
        self._arrived.set()

    async def _run(self) -> None:
        queue = self._queue
        while not self._stopping.is_set():
            if not queue:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            # Never waits for more records than there are.
            most = RECORDS if self._batch == 1 else self._batch
            taken = [queue.popleft() for _ in range(min(most, len(queue)))]
            if self._batch == 1:
                await self._one_by_one(taken)
            else:
                await walk_async(self._processor.way(taken, self.tracker), self._stopping, self._threads)

    async def _one_by_one(self, left: list[Message]) -> None:
        """Handles records until they are done with, or the partition is given up."""
        express, tracker = self._processor.express, self.tracker
        stopping, threads = self._stopping, self._threads
        while left and not stopping.is_set():
            trip = express.board(left, tracker, is_async=True)
            if trip is None:
                if not await walk_async(self._processor.way(left[:1], tracker), stopping, threads):
                    return
                left = left[1:]
                continue
            while (way := await trip.walk_async(stopping)) is not None:
                if not await walk_async(way, stopping, threads):
                    return
                if tracker.parked:
                    break  # It was moved to a retry topic: what comes after it may have to wait.
            left = left[trip.done :]
        await asyncio.sleep(0)  # Handlers that wait for nothing must not keep the loop to themselves.
