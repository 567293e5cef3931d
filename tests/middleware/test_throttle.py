"""A rate that handlers are held to."""

from __future__ import annotations

import pytest

from ottla import NotNow
from ottla.middleware.throttle import Throttle
from tests.middleware.calls import CONTEXT, Placed, call, with_middleware


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def handle(placed: Placed) -> str:
    return "done"


def test_records_beyond_the_rate_wait_for_their_turn() -> None:
    clock = Clock()
    listener = with_middleware(handle, Throttle(10, clock=clock))
    assert call(listener) == "done"
    with pytest.raises(NotNow) as told:
        call(listener)
    assert told.value.wait_s == pytest.approx(0.1)
    clock.now += told.value.wait_s
    assert call(listener) == "done"


def test_over_a_long_time_the_rate_is_the_rate() -> None:
    clock, done = Clock(), 0
    listener = with_middleware(handle, Throttle(7, burst=3, clock=clock))
    while clock.now < 200:
        try:
            call(listener)
            done += 1
        except NotNow as wait:
            clock.now += wait.wait_s
    assert done == pytest.approx(7 * 100 + 3, abs=2)


def test_after_a_pause_a_burst_may_come_at_once() -> None:
    clock = Clock()
    listener = with_middleware(handle, Throttle(1, burst=5, clock=clock))
    clock.now += 1000
    assert [call(listener) for _ in range(5)] == ["done"] * 5
    with pytest.raises(NotNow):
        call(listener)


def test_a_batch_counts_with_all_of_its_records() -> None:
    clock = Clock()

    def handle_batch(placed: list[Placed]) -> None: ...

    listener = with_middleware(handle_batch, Throttle(10, clock=clock), batch=50)
    call(listener, [Placed("1")] * 20, [CONTEXT] * 20)
    with pytest.raises(NotNow) as told:
        call(listener, [Placed("1")], [CONTEXT])
    assert told.value.wait_s == pytest.approx(2.0)


def test_no_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="a rate above 0"):
        Throttle(0)
