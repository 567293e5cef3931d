"""Memory for requests that are still arriving: counted by what their lengths claim, before any of it is allocated.

A request that does not fit has to wait until others are handled; nothing more is read from its client meanwhile. One
request is let in whatever its size, so that nobody waits for ever. Kafka's name for the limit is
queued.max.request.bytes. Who has memory and sends nothing for a while is cut off, but only when others wait for it.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from ottla.broker.loop import Loop, Timer

if TYPE_CHECKING:
    from ottla.broker.connection import Connection

logger = logging.getLogger("ottla.broker")

STALL_SECONDS = 10.0


class RequestMemory:
    """Who has how much. `limit` is in bytes."""

    def __init__(self, limit: int, loop: Loop) -> None:
        self.limit = limit
        self._loop = loop
        self._check: Timer | None = None
        self._arrived: dict[Connection, int] = {}  # how much of its request each had when last looked at
        self.used = 0
        self._waiting: deque[tuple[Connection, int]] = deque()

    def take(self, connection: Connection, size: int) -> bool:
        """Grants memory now, or says no; then `connection.memory_granted` is called when it is there."""
        if not self._waiting and self._fits(size):
            self.used += size
            self._arrived[connection] = -1
            return True
        self._waiting.append((connection, size))
        if self._check is None:
            self._look_for_stalled()
        return False

    def give_back(self, connection: Connection, size: int) -> None:
        self.used -= size
        del self._arrived[connection]
        self._grant()

    def forget(self, connection: Connection) -> None:
        """For a connection that is closed while it waits."""
        self._waiting = deque(entry for entry in self._waiting if entry[0] is not connection)
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self._fits(self._waiting[0][1]):
            connection, size = self._waiting.popleft()
            self.used += size
            self._arrived[connection] = -1
            connection.memory_granted()

    def _look_for_stalled(self) -> None:
        """Cuts off who has sent nothing since the last look. Looks again as long as somebody waits."""
        self._check = None
        for connection, before in list(self._arrived.items()):
            if connection.filled == before:
                logger.warning(
                    "closing the connection from %s: it announced a request, sends nothing, and others wait for its "
                    "memory (queued_requests_max_bytes)",
                    connection.peer,
                )
                connection.close()
            else:
                self._arrived[connection] = connection.filled
        if self._waiting:
            self._check = self._loop.call_later(STALL_SECONDS, self._look_for_stalled)

    def _fits(self, size: int) -> bool:
        return not self.used or self.used + size <= self.limit
