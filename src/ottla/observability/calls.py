"""Prometheus metrics of handlers' calls: how many are under way, how each ended, how long it took."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.core import Metric

from ottla.observability.metrics import HANDLER_BUCKETS


class CallSeries:
    """A collector for any Prometheus registry. Thread-safe."""

    def __init__(self) -> None:
        self._own = CollectorRegistry()
        self._under_way = Gauge(
            "ottla_calls_in_progress",
            "Calls of a handler that have begun and not ended",
            ["handler"],
            registry=self._own,
        )
        self._seconds = Histogram(
            "ottla_call_seconds",
            "One call of a handler, by how it ended: ok, or the exception's name",
            ["handler", "outcome"],
            buckets=HANDLER_BUCKETS,
            registry=self._own,
        )

    def began(self, handler: str) -> None:
        self._under_way.labels(handler).inc()

    def ended(self, handler: str, outcome: str, seconds: float) -> None:
        self._under_way.labels(handler).dec()
        self._seconds.labels(handler, outcome).observe(seconds)

    def collect(self) -> Iterable[Metric]:
        yield from self._own.collect()
