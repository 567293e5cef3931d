"""Which records of a partition are finished, and so how far the group may commit."""

from __future__ import annotations

import threading
from collections import deque


class OffsetTracker:
    """The gap-safe commit position of one partition. Thread-safe.

    Invariant: `position` is never past an offset that was received and is not finished, in whatever order records
    finish. Offsets are received in rising order; some do not exist (compaction, transaction markers), so the position
    follows the offsets seen and never counts on the next one.
    """

    __slots__ = ("_committed", "_finished", "_lock", "_pending", "_position")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: deque[int] = deque()
        self._finished: set[int] = set()
        self._position: int | None = None
        self._committed: int | None = None

    def received(self, offsets: list[int]) -> None:
        with self._lock:
            self._pending.extend(offsets)

    def finished(self, offset: int) -> None:
        with self._lock:
            self._finished.add(offset)
            while self._pending and self._pending[0] in self._finished:
                done = self._pending.popleft()
                self._finished.remove(done)
                self._position = done + 1

    @property
    def unfinished(self) -> int:
        """Records received and not yet behind the position."""
        return len(self._pending)

    @property
    def position(self) -> int | None:
        """The offset to commit: one past the last record of the finished prefix; None before the first."""
        return self._position

    @property
    def next_offset(self) -> int | None:
        """The first offset that is not finished; None before the first record."""
        with self._lock:
            return self._pending[0] if self._pending else self._position

    def to_commit(self) -> int | None:
        """The position if it has moved since it was last asked for, else None."""
        with self._lock:
            if self._position is None or self._position == self._committed:
                return None
            self._committed = self._position
            return self._position

    def commit_failed(self) -> None:
        """What `to_commit` gave was not committed after all: it is given again."""
        with self._lock:
            self._committed = None
