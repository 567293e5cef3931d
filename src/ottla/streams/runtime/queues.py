"""What a task has fetched and not processed yet, and which of it comes next."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from ottla.streams.records import RawBatch

Place = tuple[str, int]

_TIME = itemgetter(1)


EventTimes = Callable[[RawBatch], Sequence[int] | None]


class PartitionQueue:
    """Fetched records of one partition, in batches.

    Args:
        place: Topic and partition.
        event_times: When records happened; None, or where it gives None, Kafka's timestamps say it.
    """

    def __init__(self, place: Place, event_times: EventTimes | None = None) -> None:
        self.place = place
        self._event_times = event_times
        self.paused = False
        self.at_end = False
        """Whether the last thing heard of the partition was that there is no more."""
        self._batches: deque[RawBatch] = deque()
        self._times: deque[Sequence[int]] = deque()
        self._taken = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, messages: Sequence[Any]) -> None:
        """Appends records as the client library gives them: at least one."""
        # `map` over the methods themselves: for what every record goes through, half the time of a comprehension.
        kind: Any = type(messages[0])
        headers = list(map(kind.headers, messages))
        batch = RawBatch(
            *self.place,
            list(map(kind.offset, messages)),
            list(map(_TIME, map(kind.timestamp, messages))),
            list(map(kind.key, messages)),
            list(map(kind.value, messages)),
            headers if any(headers) else None,
        )
        times = None if self._event_times is None else self._event_times(batch)
        self._batches.append(batch)
        self._times.append(batch.timestamps_ms if times is None else times)
        self._count += len(messages)
        self.at_end = False

    @property
    def head_ms(self) -> int:
        """When the next record happened; there must be one."""
        return self._times[0][self._taken]

    def take(self, limit: int, until_ms: int | None) -> RawBatch:
        """The next records: at least one, at most `limit`, and after the first only such as are not after `until_ms`
        (None: any)."""
        batch, start = self._batches[0], self._taken
        stop = min(len(batch), start + limit)
        if until_ms is not None:
            times = self._times[0]
            stop = next((at for at in range(start + 1, stop) if times[at] > until_ms), stop)
        self._count -= stop - start
        if stop == len(batch):
            self._batches.popleft()
            self._times.popleft()
            self._taken = 0
            if start == 0:
                return batch
        else:
            self._taken = stop
        return replace(
            batch,
            offsets=batch.offsets[start:stop],
            timestamps_ms=batch.timestamps_ms[start:stop],
            keys=batch.keys[start:stop],
            values=batch.values[start:stop],
            headers=None if batch.headers is None else batch.headers[start:stop],
        )


class TaskQueues:
    """The queues of one task.

    Which record comes next is decided as in Kafka Streams: the one with the lowest timestamp among the heads of all
    partitions. A partition that has nothing to offer is waited for while the broker has more of it (KIP-695), and, up
    to `max_idle_s`, also where it has not: its producer may be late.

    Args:
        places: The partitions.
        max_idle_s: How long to wait for one that has nothing.
        event_times: When records happened; asked only where there is something to put in order.
    """

    def __init__(self, places: Sequence[Place], *, max_idle_s: float, event_times: EventTimes | None = None) -> None:
        times = event_times if len(places) > 1 else None
        self.by_place = {place: PartitionQueue(place, times) for place in places}
        self._max_idle_s = max_idle_s
        self._idle_since: float | None = None

    def __len__(self) -> int:
        return sum(map(len, self.by_place.values()))

    def next(self, limit: int) -> RawBatch | None:
        """The records to process next, of one partition; None: there are none, or it is better to wait."""
        queues = self.by_place.values()
        if len(queues) == 1:
            (only,) = queues
            return only.take(limit, None) if len(only) else None
        filled = [queue for queue in queues if len(queue)]
        if not filled:
            self._idle_since = None
            return None
        if len(filled) < len(queues) and not self._enough(queue for queue in queues if not len(queue)):
            return None
        self._idle_since = None if len(filled) == len(queues) else self._idle_since
        first = min(filled, key=lambda queue: queue.head_ms)
        others = [queue.head_ms for queue in filled if queue is not first]
        # Where others may come in between, one record at a time would be the rule taken to its end; what has been
        # fetched is what can be known.
        return first.take(limit, min(others) if others else None)

    def _enough(self, empty: Any) -> bool:
        if not all(queue.at_end for queue in empty):
            self._idle_since = None
            return False
        if self._max_idle_s == 0:
            return True
        now = time.monotonic()
        if self._idle_since is None:
            self._idle_since = now
        return now - self._idle_since >= self._max_idle_s

    @property
    def waiting(self) -> bool:
        """Whether records wait for those of another partition."""
        return self._idle_since is not None and bool(len(self))
