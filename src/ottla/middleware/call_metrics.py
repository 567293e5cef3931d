"""Measures each call of a handler: the core's own metrics know records, this one knows attempts by their outcome."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from typing import Any

from ottla.middleware.hook import HandlerCall
from ottla.observability.calls import CallSeries


class CallMetrics:
    """`ottla_calls_in_progress{handler}` and `ottla_call_seconds{handler,outcome}` (`ok`, or the exception's name).

    It is a Prometheus collector: `app.metrics.registry.register(calls)` puts it on the service's page.
    """

    def __init__(self) -> None:
        self._series = CallSeries()

    def __call__(self, call: HandlerCall) -> Generator[HandlerCall, Any, Any]:
        self._series.began(call.handler)
        started, outcome = time.perf_counter(), "ok"
        try:
            return (yield call)
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            self._series.ended(call.handler, outcome, time.perf_counter() - started)

    def collect(self) -> Iterable[Any]:
        """For a Prometheus registry."""
        return self._series.collect()
