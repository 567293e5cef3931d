"""The threads that plain handlers run on."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor

MOST = 32
"""Threads of a topic, unless `listener.sync_threads` or its order says otherwise; made when they are needed."""


class HandlerThreads:
    """A pool for each topic, its retry topics included: handlers that block keep those of other topics from nothing.

    Args:
        service: The name of the app, for the threads' names.
        together: `listener.sync_threads`: so many threads for all topics together. None gives each topic its own.
        widest: How many records the widest order has in hand at once.
    """

    def __init__(self, service: str, together: int | None, widest: int) -> None:
        self._service = service
        self._most = max(MOST, widest)
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._shared = None if together is None else self._pool(together)

    def of(self, topic: str) -> Executor:
        """The pool of a topic. On the consumer thread."""
        if self._shared is not None:
            return self._shared
        found = self._pools.get(topic)
        if found is None:
            found = self._pools[topic] = self._pool(self._most)
        return found

    def close(self) -> None:
        """Takes no more work, and waits for none."""
        for pool in filter(None, (self._shared, *self._pools.values())):
            pool.shutdown(wait=False, cancel_futures=True)

    def _pool(self, threads: int) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(threads, thread_name_prefix=f"{self._service}-handler")
