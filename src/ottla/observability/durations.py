"""A histogram that takes many observations at once: one lock and one look at the clock for a whole batch of records."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class Durations(Collector):
    """Thread-safe.

    Args:
        name, text: Of the metric.
        labels: Names of the labels.
        buckets: Upper bounds in seconds, ascending, without infinity.
    """

    def __init__(self, name: str, text: str, labels: Sequence[str], buckets: Sequence[float]) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._buckets = buckets
        self._lock = threading.Lock()
        self._series: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}

    def expect(self, labels: tuple[str, ...]) -> None:
        """Makes a series exist, with nothing observed."""
        with self._lock:
            self._series.setdefault(labels, ([0] * (len(self._buckets) + 1), [0.0]))

    def observe(self, labels: tuple[str, ...], seconds: Sequence[float]) -> None:
        if labels not in self._series:
            self.expect(labels)
        counts, total = self._series[labels]
        buckets = self._buckets
        with self._lock:
            if max(seconds, default=0.0) <= buckets[0]:  # nearly always, where handlers only compute
                counts[0] += len(seconds)
            else:
                for one in seconds:
                    counts[bisect_left(buckets, one)] += 1
            total[0] += sum(seconds)

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        with self._lock:
            noted = [(labels, list(counts), total[0]) for labels, (counts, total) in self._series.items()]
        bounds = [*(str(float(bound)) for bound in self._buckets), "+Inf"]
        for labels, counts, total in noted:
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
        yield family
