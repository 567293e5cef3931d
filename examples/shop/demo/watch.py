"""Looks at the running shop: the services' health and metrics over HTTP, the orders in the read model."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from shop.demo.pipeline import Pipeline, Service
from shop.demo.read_model import OrderLine, ReadModel, Totals

_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class ServiceSample:
    """One service at one moment. Numbers are totals since its start, `rate` is records handled per second.

    `state` is `starting`, `ready`, `unhealthy`, or `ended`; `reasons` says why it is not ready.
    """

    name: str
    url: str
    state: str
    reasons: tuple[str, ...] = ()
    handled: int = 0
    rate: float = 0.0
    failed: int = 0
    retried: int = 0
    dead_lettered: int = 0
    lag: int = 0


@dataclass(frozen=True)
class Snapshot:
    """The shop at one moment: nothing in it is older than `taken_at` (seconds, the clock of `time.monotonic()`)."""

    taken_at: float = 0.0
    services: tuple[ServiceSample, ...] = ()
    totals: Totals = field(default_factory=Totals)
    latest: tuple[OrderLine, ...] = ()


class Watch:
    """Takes snapshots. Not thread-safe: `run` keeps one thread at it and `snapshot` gives the newest."""

    def __init__(self, pipeline: Pipeline, *, latest: int = 30) -> None:
        self._pipeline = pipeline
        self._latest_count = latest
        self._clients = {name: Client(service.url) for name, service in pipeline.services.items()}
        self._before: dict[str, tuple[float, int]] = {}
        self._read_model = ReadModel(pipeline.services["orders"].database_url)
        self.snapshot = Snapshot()

    def take(self) -> Snapshot:
        """Asks all services now."""
        taken_at = time.monotonic()
        samples = tuple(self._sample(service) for service in self._pipeline.services.values())
        totals = self._read_model.totals() or self.snapshot.totals
        latest = self._read_model.latest(self._latest_count)
        self.snapshot = Snapshot(taken_at, samples, totals, latest)
        return self.snapshot

    def _sample(self, service: Service) -> ServiceSample:
        child = self._pipeline.supervisor[service.name]
        if not child.running:
            return ServiceSample(service.name, service.url, "ended", (f"see {child.log_file}",))
        client = self._clients[service.name]
        health = client.json("/health/ready")
        if health is None:
            return ServiceSample(service.name, service.url, "starting")
        status, content = health
        metrics = read_metrics(client.text("/metrics") or "")
        # A stream application processes where services handle.
        handled = int(
            metrics.get("ottla_records_handled_total", metrics.get("ottla_streams_records_processed_total", 0))
        )
        now = time.monotonic()
        then, handled_then = self._before.get(service.name, (now, handled))
        self._before[service.name] = (now, handled)
        rate = max(0.0, (handled - handled_then) / (now - then)) if now > then else 0.0
        return ServiceSample(
            service.name,
            service.url,
            str(content.get("status", "ready" if status == 200 else "unhealthy")),
            tuple(str(reason) for reason in content.get("reasons", ())),
            handled,
            rate,
            int(metrics.get("ottla_records_failed_total", 0)),
            int(metrics.get("ottla_records_retried_total", 0)),
            int(metrics.get("ottla_records_dead_lettered_total", 0)),
            int(metrics.get("ottla_consumer_lag", metrics.get("ottla_streams_lag", 0))),
        )


class Watcher(threading.Thread):
    """Takes a snapshot every second (more often until all services are ready) until `stop`.

    `interval_s` is the time between looks before all services are ready. Looking is not free: making up their metrics
    costs the services a few milliseconds each.
    """

    def __init__(self, watch: Watch, interval_s: float = 0.25) -> None:
        super().__init__(name="watch", daemon=True)
        self._watch = watch
        self._interval_s = interval_s
        self._woken = threading.Event()
        self._stopping = False

    def run(self) -> None:
        interval_s = self._interval_s
        while True:
            self._woken.wait(interval_s)
            self._woken.clear()
            if self._stopping:
                return
            snapshot = self._watch.take()
            interval_s = 1.0 if all(sample.state == "ready" for sample in snapshot.services) else self._interval_s

    def look_now(self) -> None:
        """Takes the next snapshot at once."""
        self._woken.set()

    def stop(self) -> None:
        self._stopping = True
        self._woken.set()
        self.join(_TIMEOUT_S)


def read_metrics(text: str) -> dict[str, float]:
    """Prometheus' text format, each metric summed over its labels."""
    sums: dict[str, float] = defaultdict(float)
    for line in text.splitlines():
        if line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            sums[series.partition("{")[0]] += float(value)
    return sums


class Client:
    """One keep-alive connection for GETs; None is the answer where there is none."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)

    def get(self, path: str) -> tuple[int, bytes] | None:
        for _ in range(2):  # the server may have closed an idle connection: once more on a fresh one
            try:
                self._connection.request("GET", path)
                response = self._connection.getresponse()
                return response.status, response.read()
            except (OSError, http.client.HTTPException):
                self._connection.close()
        return None

    def text(self, path: str) -> str | None:
        answer = self.get(path)
        return answer[1].decode() if answer is not None and answer[0] == 200 else None

    def json(self, path: str) -> tuple[int, Any] | None:
        answer = self.get(path)
        if answer is None:
            return None
        try:
            return answer[0], json.loads(answer[1])
        except ValueError:
            return None
