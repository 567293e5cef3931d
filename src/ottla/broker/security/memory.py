"""Memory for requests that are still arriving: counted by what their lengths claim, before any of it is allocated.

A request that does not fit has to wait until others are handled; nothing more is read from its client meanwhile. One
request is let in whatever its size, so that nobody waits for ever. Kafka's name for the limit is
queued.max.request.bytes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ottla.broker.connection import Connection


class RequestMemory:
    """Who has how much. `limit` is in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._waiting: deque[tuple[Connection, int]] = deque()

    def take(self, connection: Connection, size: int) -> bool:
        """Grants memory now, or says no; then `connection.memory_granted` is called when it is there."""
        if not self._waiting and self._fits(size):
            self.used += size
            return True
        self._waiting.append((connection, size))
        return False

    def give_back(self, size: int) -> None:
        self.used -= size
        self._grant()

    def forget(self, connection: Connection) -> None:
        """For a connection that is closed while it waits."""
        self._waiting = deque(entry for entry in self._waiting if entry[0] is not connection)
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self._fits(self._waiting[0][1]):
            connection, size = self._waiting.popleft()
            self.used += size
            connection.memory_granted()

    def _fits(self, size: int) -> bool:
        return not self.used or self.used + size <= self.limit
