"""How many segment files are open at once: they are opened when needed, and closed again above a limit.

A thousand partitions at rest cost no file descriptor. Which file goes first: the one opened longest ago that was not
used since the limit was last met (the clock algorithm: nothing is moved about on the hot path).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import Protocol

LIMIT = 2000


class OpenFile(Protocol):
    """What can be closed and opened again. `pins` counts the threads that use the descriptor right now."""

    fd: int
    pins: int
    recent: bool

    def rest(self) -> None:
        """Called after the file was closed for a while."""


class OpenFiles:
    """The open files of a process. `add` belongs to the event loop's thread, the lock to whoever pins.

    Args:
        limit: More files than this are open only while all of them are pinned.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.lock = threading.Lock()
        self._queue: deque[OpenFile] = deque()

    def add(self, file: OpenFile) -> None:
        """Counts a file that has just been opened, and closes others if there are too many."""
        self._queue.append(file)
        if len(self._queue) > self.limit:
            self._close_some()

    def __len__(self) -> int:
        return sum(1 for file in self._queue if file.fd >= 0)

    def _close_some(self) -> None:
        queue = self._queue
        for _ in range(2 * len(queue)):
            if len(queue) <= self.limit:
                return
            file = queue.popleft()
            if file.fd < 0:
                continue  # closed for good meanwhile
            if file.recent:
                file.recent = False
                queue.append(file)
                continue
            with self.lock:
                if file.pins:
                    queue.append(file)
                    continue
                fd, file.fd = file.fd, -1
            os.close(fd)
            file.rest()


FILES = OpenFiles()
