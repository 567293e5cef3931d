"""Prometheus metrics of projections: where they are, how far that is behind, what they have written."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class ProjectionSeries:
    """`ottla_projection_position`, `_lag`, `_events_total`, `_dead_letters_total`, by projection."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        where = ["service", "projection", "topic", "partition"]
        what = ["service", "projection"]
        self._service = service
        self._position = Gauge("ottla_projection_position", "The next event of a partition", where, registry=registry)
        self._lag = Gauge("ottla_projection_lag", "Records not in the tables yet", where, registry=registry)
        self._events = Counter("ottla_projection_events", "Events written to the tables", what, registry=registry)
        self._buried = Counter("ottla_projection_dead_letters", "Records left out", what, registry=registry)

    def at(self, projection: str, topic: str, partition: int, position: int, lag: int) -> None:
        self._position.labels(self._service, projection, topic, partition).set(position)
        self._lag.labels(self._service, projection, topic, partition).set(lag)

    def applied(self, projection: str, events: int, buried: int) -> None:
        self._events.labels(self._service, projection).inc(events)
        self._buried.labels(self._service, projection).inc(buried)
