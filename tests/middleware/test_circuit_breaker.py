"""A breaker that opens, tries and closes."""

from __future__ import annotations

import pytest

from ottla import NotNow
from ottla.listeners.declaration import Listener
from ottla.middleware.circuit_breaker import CircuitBreaker
from tests.middleware.calls import Placed, call, with_middleware


class Shop:
    """A handler whose database comes and goes, behind a breaker that opens at the second failure for 30 s."""

    def __init__(self) -> None:
        self.now, self.calls, self.fault = 0.0, 0, ConnectionError("away")
        self.failing: Exception | None = self.fault
        self.breaker = CircuitBreaker(ConnectionError, failures=2, reset_s=30, clock=lambda: self.now)
        self.listener: Listener = with_middleware(self.handle, self.breaker)

    def handle(self, placed: Placed) -> str:
        self.calls += 1
        if self.failing is not None:
            raise self.failing
        return "done"

    def open(self) -> None:
        with pytest.raises(ConnectionError):
            call(self.listener)
        with pytest.raises(NotNow):
            call(self.listener)


def test_the_failure_that_opens_it_counts_as_no_attempt_and_says_how_long_to_wait() -> None:
    shop = Shop()
    with pytest.raises(ConnectionError):
        call(shop.listener)
    assert shop.breaker.state == "closed"
    with pytest.raises(NotNow, match="the circuit is open: away") as told:
        call(shop.listener)
    assert told.value.wait_s == 30
    assert shop.breaker.state == "open"


def test_while_it_is_open_nothing_is_called() -> None:
    shop = Shop()
    shop.open()
    shop.now = 20
    with pytest.raises(NotNow) as told:
        call(shop.listener)
    assert (shop.calls, told.value.wait_s) == (2, 10)


def test_a_trial_that_succeeds_closes_it() -> None:
    shop = Shop()
    shop.open()
    shop.now, shop.failing = 31, None
    assert call(shop.listener) == "done"
    assert shop.breaker.state == "closed"
    shop.failing = shop.fault
    with pytest.raises(ConnectionError):  # counted from the beginning again
        call(shop.listener)


def test_a_trial_that_fails_keeps_it_open_for_as_long_again() -> None:
    shop = Shop()
    shop.open()
    shop.now = 31
    with pytest.raises(NotNow):
        call(shop.listener)
    shop.now = 60
    with pytest.raises(NotNow) as told:
        call(shop.listener)
    assert (shop.calls, told.value.wait_s) == (3, 1)


def test_one_call_is_tried_at_a_time() -> None:
    shop = Shop()
    shop.open()
    shop.now, shop.failing = 31, None
    trial = shop.breaker(None)  # type: ignore[arg-type]
    next(trial)
    assert shop.breaker.state == "half-open"
    with pytest.raises(NotNow):
        call(shop.listener)
    with pytest.raises(StopIteration):
        trial.send("done")
    assert call(shop.listener) == "done"


def test_a_trial_that_fails_by_its_own_fault_leaves_the_trial_to_the_next() -> None:
    shop = Shop()
    shop.open()
    shop.now, shop.failing = 31, KeyError("no such order")
    with pytest.raises(KeyError):
        call(shop.listener)
    shop.failing = None
    assert call(shop.listener) == "done"


def test_a_success_in_between_starts_the_count_again() -> None:
    shop = Shop()
    with pytest.raises(ConnectionError):
        call(shop.listener)
    shop.failing = None
    call(shop.listener)
    shop.failing = shop.fault
    with pytest.raises(ConnectionError):
        call(shop.listener)


def test_a_breaker_that_counts_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="name the exceptions"):
        CircuitBreaker()
