"""Whether a consumer is still good for anything, or must be replaced by a new one.

A member that lost its brokers for good (`kafka/reach`), or whose client has stopped fetching a partition for a reason
that nobody knows, would wait for ever: unhealthy, but not working. Another client is worth what is in hand being
handled again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ottla.kafka.reach import Reach

IDLE_S = 5.0
"""A member that has had no partitions for longer asks whether the brokers are there at all."""

DOUBTED_S = 15.0
DOUBTED_S_MAX = 300.0
"""The least time from one replacement for a doubt to the next. It doubles: a new client has not helped, so there is
another reason."""

CALM_S = 600.0
"""After so long without one, it begins anew."""


class Care:
    """Belongs to the consumer thread, but for `doubt`.

    Args:
        reach: Asks the brokers.
        clock: Seconds.
    """

    def __init__(self, reach: Reach, clock: Callable[[], float] = time.monotonic) -> None:
        self._reach = reach
        self._clock = clock
        self._busy_at = clock()
        self._doubt: str | None = None
        self._doubts = 0
        self._not_before = clock()

    def doubt(self, reason: str) -> None:
        """Tells that the client does not fetch what the brokers have for it. From any thread; again while it is so."""
        self._doubt = reason

    def answered(self, client: Any, *, away: bool, busy: bool) -> bool | None:
        """Asks the brokers, if there is cause to.

        Args:
            client: The consumer.
            away: Whether it has told that all brokers are away.
            busy: Whether it has partitions.

        Returns:
            True: a broker answers the client. False: none does, and never will. None: nobody knows.
        """
        now = self._clock()
        if busy:
            self._busy_at = now
        if not away and now - self._busy_at <= IDLE_S:
            return None
        if self._reach.is_lost(client):
            return False
        return True if self._reach.has_brokers else None

    def doubted(self) -> str | None:
        """Why the client is not to be trusted, where that is so and the last replacement is long enough ago."""
        reason, self._doubt = self._doubt, None
        return reason if self._clock() >= self._not_before else None

    def replaced(self, *, for_doubt: bool) -> None:
        """A new client has taken its place."""
        now = self._clock()
        self._reach.begin_anew()
        self._busy_at, self._doubt = now, None
        if for_doubt:
            self._doubts = self._doubts + 1 if now - self._not_before < CALM_S else 1
            self._not_before = now + min(DOUBTED_S * 2 ** (self._doubts - 1), DOUBTED_S_MAX)
