"""Metrics that are read when they are asked for, instead of being counted as things happen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one metric.

    Attributes:
        name: Without `_total` for counters.
        labels: Besides `service`; the same names for all samples of a metric.
    """

    name: str
    help: str
    kind: Literal["counter", "gauge"]
    value: float
    labels: Mapping[str, str]


class SampleCollector(Collector):
    """Reports what `read` gives at each scrape. `read` is called on the scraping thread and must not block."""

    def __init__(self, service: str, read: Callable[[], Iterable[Sample]]) -> None:
        self._service = service
        self._read = read

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for sample in self._read():
            family = families.get(sample.name)
            if family is None:
                kind = CounterMetricFamily if sample.kind == "counter" else GaugeMetricFamily
                family = families[sample.name] = kind(sample.name, sample.help, labels=["service", *sample.labels])
            family.add_metric([self._service, *sample.labels.values()], sample.value)  # type: ignore[attr-defined]
        return families.values()

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before something runs."""
        return ()
