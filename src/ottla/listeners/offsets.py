"""Which records of a partition are finished, and so how far the group may commit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from ottla.listeners import gaps
from ottla.listeners.parked import ParkedKeys

KEPT = 1000
"""Offsets behind the position that are kept until they are removed together."""


class Progress(NamedTuple):
    """What to commit: the first offset not finished, and text that tells which later ones are."""

    offset: int
    metadata: str = ""


class OffsetTracker:
    """The gap-safe commit position of one partition. Thread-safe.

    Invariant: `position` is never past an offset that was received and is not finished, in whatever order records
    finish. Offsets are received in rising order; some do not exist (compaction, transaction markers), so the position
    follows the offsets seen and never counts on the next one.

    Attributes:
        finished: Called with the offset of a record that is finished, from any thread. It takes no lock, so it costs a
            handler next to nothing: whoever asks for the position looks at what has come in since.

    Args:
        remember: Whether the records that are finished beyond the position are written down with it. Where records are
            handled one after the other there are none worth it.
    """

    __slots__ = (
        "_committed",
        "_done",
        "_finished",
        "_first",
        "_lock",
        "_pending",
        "_position",
        "_remember",
        "_remembered",
        "_restored",
        "abandoned",
        "finished",
        "held",
        "parked",
    )

    def __init__(self, *, remember: bool = False) -> None:
        self._lock = threading.Lock()
        self._pending: list[int] = []  # from `_first` on; what is before it is behind the position
        self._first = 0
        self._done: list[int] = []  # finished, and not yet looked at
        self.finished: Callable[[int], None] = self._done.append
        self._finished: set[int] = set()
        self._position: int | None = None
        self._committed: Progress | None = None
        self._remember = remember
        self._remembered: set[int] = set()
        self._restored = 0
        self.parked: ParkedKeys | None = None  # where retry topics keep the order of keys
        self.held: Callable[[], int] = int  # how many of the unfinished wait for records of other partitions
        self.abandoned = False  # what it tracks was undone, and is handled anew with another tracker

    @property
    def remembers(self) -> bool:
        return self._remember

    def restore(self, position: int, metadata: str | None) -> None:
        """What was committed before this partition came here. Before the first record is received."""
        with self._lock:
            self._remembered = gaps.decode(position, metadata)
            self._restored = position

    def received(self, offsets: list[int]) -> set[int]:
        """Records have come from Kafka. Gives those that were finished already, before the partition came here."""
        with self._lock:
            self._pending.extend(offsets)
            if not self._remembered:
                return set()
            if offsets[0] < self._restored:
                # The log does not go as far as what was committed: it is another one, or was cut.
                self._remembered.clear()
            again = self._remembered.intersection(offsets)
            self._remembered -= again
            if self._remembered and max(self._remembered) < offsets[-1]:
                self._remembered.clear()  # Records that are in the log no more.
            self._finished |= again
            self._move()
            return again

    def _settle(self) -> None:
        """Looks at what was finished since the last look. Under the lock."""
        count = len(self._done)
        if count:
            done = self._done[:count]
            del self._done[:count]  # What others have added meanwhile stays.
            behind = self._first + count
            if not self._finished and self._pending[self._first : behind] == done:
                # Nearly always, where one follows the other: nothing is looked at one by one.
                self._first = behind
                self._position = done[-1] + 1
            else:
                self._finished.update(done)
        self._move()

    def is_finished(self, offset: int) -> bool:
        """Whether a record that was received is finished."""
        with self._lock:
            self._settle()
            return offset in self._finished or (self._position is not None and offset < self._position)

    def _move(self) -> None:
        pending, finished = self._pending, self._finished
        if finished:
            first, end = self._first, len(pending)
            while first < end and pending[first] in finished:
                finished.remove(pending[first])
                first += 1
            if first > self._first:
                self._first = first
                self._position = pending[first - 1] + 1
        if self._first >= KEPT or self._first == len(pending):
            del pending[: self._first]
            self._first = 0

    @property
    def unfinished(self) -> int:
        """Records received and not yet behind the position."""
        with self._lock:
            self._settle()
            return len(self._pending) - self._first

    @property
    def in_hand(self) -> int:
        """Unfinished records that its worker has, or will have before others: what memory and patience are for."""
        return max(0, self.unfinished - self.held())

    @property
    def beyond(self) -> int:
        """Finished records behind one that is not."""
        with self._lock:
            self._settle()
            return len(self._finished) + len(self._remembered)

    @property
    def position(self) -> int | None:
        """One past the last record of the finished prefix; None before the first."""
        with self._lock:
            self._settle()
            return self._position

    @property
    def next_offset(self) -> int | None:
        """The first offset that is not finished; None before the first record."""
        with self._lock:
            self._settle()
            return self._pending[self._first] if self._first < len(self._pending) else self._position

    @property
    def progress(self) -> Progress | None:
        """What to commit as things stand; None if nothing is finished."""
        with self._lock:
            self._settle()
            return self._progress()

    def to_commit(self) -> Progress | None:
        """The progress if there is any since it was last asked for, else None."""
        with self._lock:
            self._settle()
            progress = self._progress()
            if progress is None or progress == self._committed:
                return None
            self._committed = progress
            return progress

    def commit_failed(self) -> None:
        """What `to_commit` gave was not committed after all: it is given again."""
        with self._lock:
            self._committed = None

    def _progress(self) -> Progress | None:
        if not self._remember:
            return None if self._position is None else Progress(self._position)
        beyond = self._finished | self._remembered
        if self._position is None and not beyond:
            return None
        if self._position is not None:
            first = self._position
        elif self._first < len(self._pending):
            first = self._pending[self._first]
        else:
            return None
        return Progress(first, gaps.encode(first, beyond))
