"""What is measured of calls."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from ottla.middleware.call_metrics import CallMetrics
from tests.middleware.calls import Placed, call, with_middleware


def test_calls_are_counted_by_their_outcome_and_those_under_way_are_known() -> None:
    metrics, registry = CallMetrics(), CollectorRegistry()
    registry.register(metrics)
    under_way: list[float | None] = []

    def handle(placed: Placed) -> None:
        under_way.append(registry.get_sample_value("ottla_calls_in_progress", {"handler": "handle"}))
        if placed.id == "bad":
            raise KeyError("bad")

    listener = with_middleware(handle, metrics)
    call(listener)
    with pytest.raises(KeyError):
        call(listener, Placed("bad"))

    def count(outcome: str) -> float | None:
        return registry.get_sample_value("ottla_call_seconds_count", {"handler": "handle", "outcome": outcome})

    assert under_way == [1, 1]
    assert registry.get_sample_value("ottla_calls_in_progress", {"handler": "handle"}) == 0
    assert (count("ok"), count("KeyError")) == (1, 1)
