"""What is said of calls."""

from __future__ import annotations

import logging

import pytest

from ottla.middleware.call_log import CallLog
from tests.middleware.calls import CONTEXT, Placed, call, with_middleware


def test_each_call_is_a_line_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    def handle(placed: Placed) -> None: ...

    with caplog.at_level(logging.DEBUG, "ottla.calls"):
        call(with_middleware(handle, CallLog()))
    (line,) = caplog.records
    assert line.levelno == logging.DEBUG
    assert line.getMessage().startswith("handle returned after 0.")
    assert line.getMessage().endswith("event e-1 (orders[0]@17), attempt 1")


def test_a_slow_call_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def handle(placed: Placed) -> None: ...

    call(with_middleware(handle, CallLog(slow_s=-1)))
    assert [line.levelno for line in caplog.records] == [logging.WARNING]


def test_a_failure_is_named_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def handle(placed: list[Placed]) -> None:
        raise KeyError("gone")

    with caplog.at_level(logging.DEBUG, "ottla.calls"), pytest.raises(KeyError):
        call(with_middleware(handle, CallLog(), batch=2), [Placed("1")] * 2, [CONTEXT] * 2)
    assert "handle raised KeyError after" in caplog.text
    assert "2 events (orders[0]@17)" in caplog.text
