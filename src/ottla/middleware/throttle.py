"""Holds handlers back to a rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from ottla.errors import NotNow
from ottla.middleware.hook import HandlerCall


class Throttle:
    """At most so many records per second, over all partitions and handlers of this process that share it; the others
    wait in their order. Attempts count: a retry is a call, too.

    A token bucket: it fills at `per_second`, holds `burst`, and each record takes one token. A batch takes one for each
    of its records, as soon as the bucket holds any: it then owes the rest.

    Args:
        per_second: Records per second.
        burst: How many may come at once after a pause.
        clock: Seconds; for tests.
    """

    def __init__(self, per_second: float, *, burst: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        if per_second <= 0 or burst < 1:
            raise ValueError(f"Throttle({per_second!r}, burst={burst!r}): a rate above 0, and a burst from 1 on")
        self._per_second = per_second
        self._burst = float(burst)
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = self._burst
        self._at = clock()

    def __call__(self, call: HandlerCall) -> Generator[HandlerCall, Any, Any]:
        wait_s = self._take(len(call.contexts))
        if wait_s > 0:
            raise NotNow(f"{call.handler}: throttled to {self._per_second:g}/s", wait_s=wait_s)
        return (yield call)

    def _take(self, records: int) -> float:
        """Takes tokens, or says in how many seconds there is one."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
            self._at = now
            # Sums of fractions come out a hair below one: without the hair they would wait for nothing.
            if self._tokens >= 1 - 1e-9:
                self._tokens -= records
                return 0.0
            return (1 - self._tokens) / self._per_second
