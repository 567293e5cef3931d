"""Pausing, resuming and seeking while a service runs, and who is told when partitions come and go."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal

from ottla.errors import KafkaError
from ottla.events import event_type

Place = tuple[str, int]
Target = int | datetime | Literal["beginning", "end"]
PartitionsHook = Callable[[list[Place]], Awaitable[None] | None]
"""Given the partitions, as (topic, partition)."""


class Control:
    """What an app's listeners can be told while they run. Thread-safe.

    A pause outlives rebalances and restarts of the app: it says which partitions *this* process does not read, whenever
    it has them.
    """

    def __init__(self) -> None:
        self.assigned_hooks: list[PartitionsHook] = []
        self.revoked_hooks: list[PartitionsHook] = []
        self._named: Callable[[str], str] = str
        self._homes: dict[str, tuple[str, int]] = {}
        self._topics: set[str] = set()
        self._places: set[Place] = set()
        self._lock = threading.Lock()
        self._seeks: deque[tuple[Place, Target, concurrent.futures.Future[int]]] = deque()
        self._runs = False

    def pause(self, topic: str | type, *partitions: int) -> None:
        """Takes no more records from a topic (or from some of its partitions), nor from its retry topics, until
        `resume`. Records taken already are handled still, `listener.buffered_records_max` of a partition at most.

        Args:
            topic: Its name, or an event class.
            partitions: All, if none are named; also those that come later.
        """
        name = self._name(topic)
        with self._lock:
            if partitions:
                self._places |= {(name, partition) for partition in partitions}
            else:
                self._topics.add(name)

    def resume(self, topic: str | type, *partitions: int) -> None:
        """Takes records again: of the whole topic, or of some partitions (then of no others that were paused with it:
        a topic that was paused as a whole is resumed as a whole)."""
        name = self._name(topic)
        with self._lock:
            if partitions:
                self._places -= {(name, partition) for partition in partitions}
            else:
                self._topics.discard(name)
                self._places = {place for place in self._places if place[0] != name}

    def paused(self, topic: str | type, partition: int) -> bool:
        """Whether a partition is paused by `pause`."""
        return self.holds((self._name(topic), partition))

    async def seek(self, topic: str | type, partition: int, to: Target) -> int:
        """Goes on from another record of a partition that this member has.

        What is in hand finishes first (within `listener.drain_timeout_s`; what does not is not waited for, and counts
        as not handled). The new position is committed, so a restart goes on from there as well.

        Args:
            topic: Its name, or an event class.
            partition: Its number.
            to: An offset; a moment: the first record that is not older; `"beginning"`; `"end"`: behind the last record.

        Returns:
            The offset.

        Raises:
            KafkaError: This member does not have the partition, or the brokers do not answer.
        """
        asked: concurrent.futures.Future[int] = concurrent.futures.Future()
        with self._lock:
            if not self._runs:
                raise KafkaError("the app does not run: there is nothing to seek in")
            self._seeks.append(((self._name(topic), partition), to, asked))
        return await asyncio.wrap_future(asked)

    def _name(self, topic: str | type) -> str:
        return self._named(topic if isinstance(topic, str) else event_type(topic).topic)

    # ------------------------------------------------------------------ for the runner

    def begin(self, named: Callable[[str], str], homes: dict[str, tuple[str, int]]) -> None:
        """A run begins. `named`: what a topic is called in the cluster; `homes`: retry topics, and whose they are."""
        self._named, self._homes = named, homes
        with self._lock:
            self._runs = True

    def end(self) -> None:
        """The run is over: nobody seeks any more."""
        with self._lock:
            self._runs = False
            left, self._seeks = self._seeks, deque()
        for _, _, asked in left:
            asked.set_exception(KafkaError("the app was stopped before it came to the seek"))

    def holds(self, place: Place) -> bool:
        topic, partition = place
        topic = self._homes.get(topic, (topic, 0))[0]
        return topic in self._topics or (topic, partition) in self._places

    def serve(self, seek: Callable[[Place, Target], int]) -> None:
        """Does what was asked for. On the consumer thread."""
        while self._seeks:
            place, to, asked = self._seeks.popleft()
            if not asked.set_running_or_notify_cancel():
                continue
            try:
                asked.set_result(seek(place, to))
            except Exception as error:
                asked.set_exception(error)

    def tell(
        self,
        hooks: list[PartitionsHook],
        places: list[Place],
        loop: asyncio.AbstractEventLoop,
        timeout_s: float,
        log: logging.Logger,
    ) -> None:
        """Calls hooks, one after the other: plain ones on this thread, async ones on the event loop. One that fails is
        told in the log, and the partitions go their way."""
        if not places:
            return
        for hook in hooks:
            name = getattr(hook, "__qualname__", repr(hook))
            try:
                waits = hook(list(places))
                if inspect.iscoroutine(waits):
                    asyncio.run_coroutine_threadsafe(waits, loop).result(timeout_s)
            except TimeoutError:
                log.error("%s took longer than %g s (listener.drain_timeout_s) and is not waited for", name, timeout_s)
            except Exception as error:
                log.error("%s failed: %s: %s", name, type(error).__name__, error, exc_info=error)
