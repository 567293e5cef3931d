"""How far each partition of a member is, and since when: what health and lag are read from.

Belongs to the consumer thread; others get snapshots.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import msgspec

from ottla.kafka.record import Message
from ottla.listeners.partition import Partition

Place = tuple[str, int]

MARK_EVERY = 50
"""Of so many records that arrive together, one time is kept: the age of a partition is right to within them."""


class Standing(msgspec.Struct, frozen=True):
    """How far a partition is.

    Attributes:
        position: The first offset that is not finished; None before the first record or end.
        end: The end of the log as the consumer last saw it.
        unfinished: Records in hand, or waiting for those.
        since: When `position` last changed, or records came where there were none (monotonic seconds).
        oldest_ms: The time of the first record that is not finished (milliseconds since the epoch); None if none is
            in hand.
        resting: Whether it rests because it was told to.
    """

    position: int | None
    end: int
    unfinished: int
    since: float
    oldest_ms: int | None
    resting: bool


class Standings:
    """Notes of all partitions of a member."""

    def __init__(self) -> None:
        self._marks: dict[Place, deque[tuple[int, int]]] = {}
        self._ends: dict[Place, int] = {}
        self._noted: dict[Place, Standing] = {}

    def received(self, place: Place, messages: list[Message]) -> None:
        """Records were given to the partition."""
        marks = self._marks.get(place)
        if marks is None:
            marks = self._marks[place] = deque()
        for message in messages[::MARK_EVERY]:
            marks.append((message.offset(), message.timestamp()[1]))

    def at_end(self, message: Any) -> None:
        """The consumer reached the end of a partition. It lies beyond the markers of transactions, which are no
        records; the last record's offset does not tell."""
        self._ends[message.topic(), message.partition()] = message.offset()

    def note(self, workers: dict[Place, Partition], ends: dict[Place, int], resting: set[Place]) -> None:
        """Looks at all partitions.

        Args:
            workers: The partitions there are; others are forgotten.
            ends: Where the consumer saw the ends of their logs.
            resting: Those that were told to rest.
        """
        now = time.monotonic()
        for place in (self._marks.keys() | self._ends.keys()) - workers.keys():
            self._marks.pop(place, None)
            self._ends.pop(place, None)
        self._noted = {
            place: self._look(place, worker, ends.get(place, 0), place in resting, now)
            for place, worker in workers.items()
        }

    def _look(self, place: Place, worker: Partition, end: int, resting: bool, now: float) -> Standing:
        unfinished, position = worker.tracker.unfinished, worker.tracker.next_offset
        marks = self._marks.get(place)
        oldest = None
        if not unfinished:
            if marks:
                marks.clear()
            reached = self._ends.get(place)
            if reached is not None:
                position = max(reached, position or 0)
        elif marks and position is not None:
            while len(marks) > 1 and marks[1][0] <= position:
                marks.popleft()
            oldest = marks[0][1]
        before = self._noted.get(place)
        moved = before is None or before.position != position or bool(before.unfinished) != bool(unfinished)
        since = now if before is None or moved or resting else before.since
        return Standing(position, end, unfinished, since, oldest, resting)

    def snapshot(self) -> dict[Place, Standing]:
        """What was noted last; not to be changed."""
        return self._noted
