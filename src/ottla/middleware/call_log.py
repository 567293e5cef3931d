"""Logs calls of handlers: each one for debugging, slow ones as warnings."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from typing import Any

from ottla.middleware.hook import HandlerCall


class CallLog:
    """Says of each call which handler, which event, how long, and how it ended.

    A failure is only noted: what becomes of it is told by the retry policy, which knows.

    Args:
        slow_s: Calls that take longer are warnings.
        level: What the others are logged as.
        logger: Where to.
    """

    def __init__(
        self, *, slow_s: float = float("inf"), level: int = logging.DEBUG, logger: str = "ottla.calls"
    ) -> None:
        self._slow_s = slow_s
        self._level = level
        self._log = logging.getLogger(logger)

    def __call__(self, call: HandlerCall) -> Generator[HandlerCall, Any, Any]:
        started = time.perf_counter()
        outcome = "returned"
        try:
            return (yield call)
        except BaseException as error:
            outcome = f"raised {type(error).__name__}"
            raise
        finally:
            seconds = time.perf_counter() - started
            level = logging.WARNING if seconds > self._slow_s else self._level
            if self._log.isEnabledFor(level):
                contexts = call.contexts
                first = contexts[0]
                which = f"event {first.event_id}" if len(contexts) == 1 else f"{len(contexts)} events"
                self._log.log(
                    level,
                    "%s %s after %.3f s: %s (%s), attempt %d",
                    call.handler,
                    outcome,
                    seconds,
                    which,
                    call.place,
                    first.attempt,
                )
