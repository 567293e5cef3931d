"""The health of one service: the conditions that are wrong now, by name."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable


class Health:
    """Implements the core's Conditions. Thread-safe.

    A service is live while nothing fatal has happened to it, and ready while no condition is raised. Each change is a
    log line, so that nothing is wrong in silence.
    """

    def __init__(self, service: str) -> None:
        self._log = logging.getLogger(f"ottla.{service}")
        self._lock = threading.Lock()
        self._conditions: dict[str, str] = {}
        self._vital_signs: list[Callable[[], str | None]] = []
        self._was_ready = False

    def watch(self, vital_sign: Callable[[], str | None]) -> None:
        """Adds a check for liveness: it returns why the service cannot go on without a restart, or None."""
        self._vital_signs.append(vital_sign)

    def raise_condition(self, name: str, reason: str) -> None:
        with self._lock:
            known = self._conditions.get(name)
            self._conditions[name] = reason
        if known is None:
            self._log.warning("not ready: %s", reason)

    def clear_condition(self, name: str) -> None:
        # Called for every record: the common case must cost one look.
        if name not in self._conditions:
            return
        with self._lock:
            self._conditions.pop(name, None)
            ready = not self._conditions
        if ready:
            self._log.info("ready" if not self._was_ready else "ready again")
            self._was_ready = True

    def dead(self) -> list[str]:
        """Why the service should be restarted; empty if it should not."""
        return [reason for sign in self._vital_signs if (reason := sign()) is not None]

    def wrong(self) -> list[str]:
        """Why the service is not ready; empty if it is."""
        with self._lock:
            # Several partitions may wait for the same thing: it is said once.
            return list(dict.fromkeys([*self.dead(), *self._conditions.values()]))

    @property
    def started(self) -> bool:
        """Whether the service was ready at least once."""
        return self._was_ready
