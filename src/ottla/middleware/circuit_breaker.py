"""Stops calling a handler while what it stands on is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from ottla.errors import NotNow
from ottla.middleware.hook import HandlerCall

log = logging.getLogger("ottla.middleware")

TRIAL_WAIT_S = 0.1
"""How often the others look whether the trial has ended."""


class CircuitBreaker:
    """After some failures in a row it is open: records wait, none is tried, none is dead-lettered. After `reset_s` one
    call is tried: if it succeeds the circuit is closed again, if it fails the same way, it stays open as long again.

    One breaker is one circuit: give the handlers that stand on the same thing the same breaker. Name the exceptions
    that say it is away, and no others: a record that fails by its own fault would hold everything up for ever.

    Args:
        away: Exceptions that count.
        failures: So many in a row open it. Not more than the handler's attempts, or its first records are dead-lettered
            before it opens: the failure that opens it counts as no attempt.
        reset_s: Seconds until the next trial.
        clock: Seconds; for tests.
    """

    def __init__(
        self,
        *away: type[Exception],
        failures: int = 3,
        reset_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not away or failures < 1 or reset_s <= 0:
            raise ValueError("CircuitBreaker: name the exceptions that count, failures from 1 on, reset_s above 0")
        self._away = away
        self._failures_max = failures
        self._reset_s = reset_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until: float | None = None
        self._trial = False

    @property
    def state(self) -> str:
        """`closed`, `open` or `half-open` (a call is being tried)."""
        if self._open_until is None:
            return "closed"
        return "half-open" if self._trial else "open"

    def __call__(self, call: HandlerCall) -> Generator[HandlerCall, Any, Any]:
        trial = self._admit(call)
        try:
            result = yield call
        except self._away as error:
            if self._failed(trial, error, call):
                raise NotNow(f"{call.handler}: the circuit is open: {error}", wait_s=self._reset_s) from error
            raise
        except BaseException:
            self._trial_ended(trial)
            raise
        self._succeeded()
        return result

    def _admit(self, call: HandlerCall) -> bool:
        """Whether this call is the trial of an open circuit."""
        if self._open_until is None:
            return False
        with self._lock:
            if self._open_until is None:
                return False
            left = self._open_until - self._clock()
            if left > 0 or self._trial:
                raise NotNow(f"{call.handler}: the circuit is open", wait_s=max(left, TRIAL_WAIT_S))
            self._trial = True
            return True

    def _failed(self, trial: bool, error: Exception, call: HandlerCall) -> bool:
        with self._lock:
            self._failures += 1
            opens = trial or self._failures >= self._failures_max
            if opens:
                if self._open_until is None:
                    log.warning(
                        "%s: the circuit is open, its records wait; next trial in %g s: %s: %s",
                        call.handler,
                        self._reset_s,
                        type(error).__name__,
                        error,
                    )
                self._open_until = self._clock() + self._reset_s
            if trial:
                self._trial = False
            return opens

    def _trial_ended(self, trial: bool) -> None:
        """Cancelled, or failed by its own fault: that says nothing. The next call is the trial."""
        if trial:
            with self._lock:
                self._trial = False

    def _succeeded(self) -> None:
        if not self._failures and self._open_until is None:
            return
        with self._lock:
            if self._open_until is not None:
                log.info("the circuit is closed again")
            self._failures, self._open_until, self._trial = 0, None, False
