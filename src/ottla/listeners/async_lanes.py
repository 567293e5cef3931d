"""A partition of which several records are in hand at once, with coroutine functions for handlers (or some of them)."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor

from ottla.kafka.record import Message
from ottla.listeners.lanes import Lanes
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.order import Order
from ottla.listeners.record import RecordProcessor
from ottla.listeners.steps import walk_async


class AsyncLanes:
    """See `Partition` for the contract. Everything but the tracker lives on the event loop.

    A worker is a task that takes one ready record after the other and ends when none is ready. Whoever makes records
    ready sees that there is a worker: `feed` starts as many as may run, and the worker that finishes a record takes the
    next one of its key itself. So no record is ready without a worker, unless all of them are busy.
    """

    def __init__(
        self,
        topic: str,
        partition: int,
        processor: RecordProcessor,
        loop: asyncio.AbstractEventLoop,
        threads: Executor,
        order: Order,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.tracker = OffsetTracker(remember=True)
        self.paused = False
        self.died: BaseException | None = None
        self._processor = processor
        self._loop = loop
        self._threads = threads
        self._parallel = order.parallel
        self._lanes = Lanes(order.by_key)
        self._workers: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._ended = threading.Event()

    def start(self) -> None:
        """Nothing to do: workers are started as records arrive."""

    def feed(self, messages: list[Message]) -> None:
        self._on_loop(self._add, messages)

    def stop(self) -> None:
        self._on_loop(self._end)

    def wait_stopped(self, timeout_s: float) -> bool:
        return self._ended.wait(timeout_s)

    def cancel(self) -> None:
        self.stop()
        self._on_loop(self._cancel)

    def _on_loop(self, function: object, *arguments: object) -> None:
        if self._loop.is_closed():
            self._ended.set()
        else:
            self._loop.call_soon_threadsafe(function, *arguments)  # type: ignore[arg-type]  # typed by its callers

    def _add(self, messages: list[Message]) -> None:
        if self._stopping.is_set():
            return
        self._lanes.add(messages)
        for _ in range(min(self._lanes.ready, self._parallel - len(self._workers))):
            worker = self._loop.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._worker_ended)

    def _end(self) -> None:
        self._stopping.set()
        if not self._workers:
            self._ended.set()

    def _cancel(self) -> None:
        for worker in self._workers:
            worker.cancel()

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self.died = error
        if self._stopping.is_set() and not self._workers:
            self._ended.set()

    async def _work(self) -> None:
        lanes, stopping = self._lanes, self._stopping
        try:
            while not stopping.is_set() and (message := lanes.take()) is not None:
                if await walk_async(self._processor.way([message], self.tracker), stopping, self._threads):
                    # A record that was given up keeps its key: what waits behind it must not overtake it.
                    lanes.done(message)
        finally:
            # At once: records that are fed before the task's callbacks run must not take it for one that is busy.
            self._workers.discard(asyncio.current_task())
