"""The client library's log lines: said, not repeated."""

from __future__ import annotations

import logging
import time

import pytest

from ottla.kafka import config


def line(text: str) -> logging.LogRecord:
    return logging.LogRecord("ottla.kafka.client", logging.ERROR, __file__, 1, "FAIL: %s", (text,), None)


def test_a_repeated_line_is_logged_once_until_its_time_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    repetition = config.Repetition()
    assert repetition.filter(line("a:1: refused (after 0ms in state CONNECT)"))
    assert not repetition.filter(line("a:1: refused (after 3ms in state CONNECT)"))
    assert repetition.filter(line("b:1: refused (after 0ms in state CONNECT)"))

    now[0] += config.REPEATED_AFTER_S
    again = line("a:1: refused (after 0ms in state CONNECT)")
    assert repetition.filter(again)
    assert again.getMessage() == "FAIL: a:1: refused (after 0ms in state CONNECT) (and 1 times before)"
    assert not repetition.filter(line("a:1: refused (after 0ms in state CONNECT)"))
