"""Callbacks at intervals of stream time or of the wall clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from ottla.errors import TopologyError

if TYPE_CHECKING:
    from ottla.streams.operators.base import Operator

STREAM_TIME = "stream-time"
WALL_CLOCK = "wall-clock"


@dataclass(order=True)
class _Punctuation:
    due_ms: int
    number: int
    interval_ms: int = field(compare=False)
    operator: Operator = field(compare=False)
    callback: Callable[[int], None] = field(compare=False)
    cancelled: bool = field(compare=False, default=False)


class Punctuations:
    """The callbacks of one task, in the order they are due."""

    def __init__(self) -> None:
        self._queues: dict[str, list[_Punctuation]] = {STREAM_TIME: [], WALL_CLOCK: []}
        self._numbers = count()

    @property
    def on_stream_time(self) -> bool:
        """Whether there is any on stream time: then records are processed one by one."""
        return bool(self._queues[STREAM_TIME])

    def schedule(
        self, operator: Operator, interval_ms: int, kind: str, callback: Callable[[int], None], now_ms: int
    ) -> Callable[[], None]:
        """See `TaskContext.schedule`. On stream time they are aligned to 0 and due with the first record; on the wall
        clock the first is due after one interval (both as in Kafka Streams)."""
        if interval_ms < 1:
            raise TopologyError(f"a punctuation needs an interval of at least 1 ms, not {interval_ms}")
        due = 0 if kind == STREAM_TIME else now_ms + interval_ms
        one = _Punctuation(due, next(self._numbers), interval_ms, operator, callback)
        heapq.heappush(self._queues[kind], one)

        def cancel() -> None:
            one.cancelled = True

        return cancel

    def run(self, kind: str, now_ms: int) -> bool:
        """Calls back everything that is due, each once however many intervals were missed; says if there was any."""
        queue = self._queues[kind]
        called = False
        while queue and (queue[0].due_ms <= now_ms or queue[0].cancelled):
            one = heapq.heappop(queue)
            if one.cancelled:
                continue
            missed = (now_ms - one.due_ms) // one.interval_ms
            one.due_ms += (missed + 1) * one.interval_ms
            heapq.heappush(queue, one)
            one.callback(now_ms)
            called = True
        return called
