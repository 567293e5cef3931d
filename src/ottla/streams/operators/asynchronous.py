"""Async functions over values: awaited side by side, but one after another for each key, and handed on in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from ottla.streams.context import TaskContext
from ottla.streams.operators.base import Operator
from ottla.streams.operators.batch import Batch


class EventLoopThread:
    """An event loop in a thread of its own, so that a task can wait for coroutines whatever its own thread does."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Any) -> Any:
        """Runs a coroutine to its end."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def stop(self) -> None:
        """Ends loop and thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class AsyncMapValues(Operator):
    """Another value for each record, by an async function of key and value.

    Args:
        concurrency: How many calls are open at most.
    """

    def __init__(self, mapper: Callable[[Any, Any], Awaitable[Any]], concurrency: int) -> None:
        self._mapper = mapper
        self._concurrency = concurrency

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._loop: EventLoopThread | None = None

    def process(self, batch: Batch) -> None:
        if self._loop is None:
            self._loop = EventLoopThread(f"ottla-streams-{self.context.task_name}-{self.name}")
        results: list[Any] = self._loop.run(self._all(batch))
        chosen = [True] * len(batch)
        for index, result in enumerate(results):
            if isinstance(result, _Failed):
                self.context.failed(self, batch, index, result.error)
                chosen[index] = False
        kept = [result for result, wanted in zip(results, chosen, strict=True) if wanted]
        self.forward(batch.where(chosen).with_values(kept))

    async def _all(self, batch: Batch) -> list[Any]:
        by_key: dict[Any, list[int]] = {}
        for index, key in enumerate(batch.keys):
            by_key.setdefault(key, []).append(index)
        results: list[Any] = [None] * len(batch)
        free = asyncio.Semaphore(self._concurrency)
        values = batch.whole

        async def in_order(key: Any, indexes: list[int]) -> None:
            for index in indexes:
                async with free:
                    try:
                        results[index] = await self._mapper(key, values[index])
                    except Exception as error:
                        results[index] = _Failed(error)

        await asyncio.gather(*(in_order(key, indexes) for key, indexes in by_key.items()))
        return results

    def close(self) -> None:
        if self._loop is not None:
            self._loop.stop()
            self._loop = None


class _Failed:
    def __init__(self, error: Exception) -> None:
        self.error = error
