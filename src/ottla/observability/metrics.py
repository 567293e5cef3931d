"""Prometheus metrics of one service, in a registry of its own (two apps in one process do not mix)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from ottla.observability.durations import Durations

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

HANDLER_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
"""Seconds: from a handler that only computes to one that waits for another system."""


class Lag(Protocol):
    """How far a partition is behind: in records, and by the age in seconds of the first one not finished."""

    @property
    def records(self) -> int: ...
    @property
    def seconds(self) -> float: ...


LagReader = Callable[[], Mapping[tuple[str, int], Lag]]


class Metrics:
    """Implements the core's Observer."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        names = ["service", "topic", "handler"]

        def counter(name: str, text: str, labels: list[str]) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        handled = counter("ottla_records_handled", "Records whose handler finished", names)
        failed = counter("ottla_records_failed", "Attempts of a handler that raised", names)
        retried = counter("ottla_records_retried", "Further attempts that began", names)
        dead = counter("ottla_records_dead_lettered", "Records acknowledged by a dead-letter topic", names)
        parked = counter("ottla_records_parked", "Copies acknowledged by retry topics", names)
        skipped = counter("ottla_records_skipped", "Records of a known type passed over", ["service", "topic"])
        published = counter("ottla_events_published", "Events acknowledged", ["service", "topic"])
        refused = counter("ottla_publish_failures", "Events sent and refused", ["service", "topic"])
        commits = counter("ottla_commits_failed", "Offset commits that failed", ["service"])
        text = "From a record's first attempt to the end of its last"
        self._seconds = Durations("ottla_handler_seconds", text, names, HANDLER_BUCKETS)
        self.registry.register(self._seconds)
        ProcessCollector(registry=self.registry)
        # labels() costs more than the count itself: each series is looked up once.
        self._handled = lru_cache(None)(lambda topic, handler: handled.labels(service, topic, handler))
        self._failed = lru_cache(None)(lambda topic, handler: failed.labels(service, topic, handler))
        self._retried = lru_cache(None)(lambda topic, handler: retried.labels(service, topic, handler))
        self._dead = lru_cache(None)(lambda topic, handler: dead.labels(service, topic, handler))
        self._parked = lru_cache(None)(lambda topic, handler: parked.labels(service, topic, handler))
        self._skipped = lru_cache(None)(lambda topic: skipped.labels(service, topic))
        self._published = lru_cache(None)(lambda topic: published.labels(service, topic))
        self._refused = lru_cache(None)(lambda topic: refused.labels(service, topic))
        self._commits = commits.labels(service)
        self._service = service

    def watch_lag(self, lag: LagReader) -> None:
        """Reports `ottla_consumer_lag` and `ottla_consumer_lag_seconds` from `lag` at each scrape."""
        self.registry.register(_LagCollector(self._service, lag))

    def expect(self, topic: str, handler: str) -> None:
        """Makes a handler's series exist at zero, so that a rate over them is right from the first record on."""
        for series in (self._handled, self._failed, self._retried, self._dead):
            series(topic, handler)
        self._seconds.expect((self._service, topic, handler))

    def handled(self, topic: str, handler: str, seconds: float) -> None:
        self.handled_many(topic, handler, [seconds])

    def handled_many(self, topic: str, handler: str, seconds: list[float]) -> None:
        self._handled(topic, handler).inc(len(seconds))
        self._seconds.observe((self._service, topic, handler), seconds)

    def failed(self, topic: str, handler: str) -> None:
        self._failed(topic, handler).inc()

    def retried(self, topic: str, handler: str) -> None:
        self._retried(topic, handler).inc()

    def dead_lettered(self, topic: str, handler: str) -> None:
        self._dead(topic, handler).inc()

    def parked(self, topic: str, handler: str) -> None:
        self._parked(topic, handler).inc()

    def skipped(self, topic: str) -> None:
        self._skipped(topic).inc()

    def published(self, topic: str, count: int = 1) -> None:
        self._published(topic).inc(count)

    def publish_failed(self, topic: str) -> None:
        self._refused(topic).inc()

    def commit_failed(self) -> None:
        self._commits.inc()

    def page(self) -> bytes:
        """The metrics in Prometheus' text form."""
        return generate_latest(self.registry)


class _LagCollector(Collector):
    def __init__(self, service: str, lag: LagReader) -> None:
        self._service = service
        self._lag = lag

    def collect(self) -> Iterable[Metric]:
        labels = ["service", "topic", "partition"]
        records = GaugeMetricFamily(
            "ottla_consumer_lag", "Records between the position to commit and the end of the partition", labels=labels
        )
        seconds = GaugeMetricFamily(
            "ottla_consumer_lag_seconds", "Age of the first record that is not finished; 0 without lag", labels=labels
        )
        for (topic, partition), behind in self._lag().items():
            records.add_metric([self._service, topic, str(partition)], behind.records)
            seconds.add_metric([self._service, topic, str(partition)], behind.seconds)
        yield from (records, seconds)
