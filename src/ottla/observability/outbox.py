"""Prometheus metrics of outboxes: how much waits, how long it has waited, how much went."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class OutboxSeries:
    """`ottla_outbox_events`, `ottla_outbox_age_seconds`, `ottla_outbox_relayed_total`, by outbox."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        labels = ["service", "outbox"]
        self._service = service
        self._events = Gauge("ottla_outbox_events", "Events due and not acknowledged yet", labels, registry=registry)
        self._age = Gauge("ottla_outbox_age_seconds", "How long the oldest of them is due", labels, registry=registry)
        self._relayed = Counter("ottla_outbox_relayed", "Events acknowledged and deleted", labels, registry=registry)

    def waiting(self, outbox: str, count: int, age_s: float) -> None:
        self._events.labels(self._service, outbox).set(count)
        self._age.labels(self._service, outbox).set(age_s)

    def relayed(self, outbox: str, count: int) -> None:
        self._relayed.labels(self._service, outbox).inc(count)
