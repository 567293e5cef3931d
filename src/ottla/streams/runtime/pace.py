"""How many records a task gets at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

START = 100
LONG_S = 0.2
SHORT_S = 0.05


class Pace:
    """Many records at once where they are quick, few where each takes long: a transaction must not stay open for longer
    than the broker allows because a task has been given thousands of slow ones.

    Args:
        most: Never more than these.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = min(START, most)

    @contextmanager
    def measured(self, count: int) -> Iterator[None]:
        """Around the processing of so many records."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.note(count, time.monotonic() - began)

    def note(self, count: int, seconds: float) -> None:
        """So many took so long."""
        if seconds > LONG_S:
            self.limit = max(1, int(count * LONG_S / seconds))
        elif seconds < SHORT_S and count >= self.limit:
            self.limit = min(self._most, self.limit * 2)
