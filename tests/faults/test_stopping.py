"""Ctrl-C ends everything within five seconds, whatever is going on, and still says what it knows."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.demo.running import RunningDemo

DEADLINE_S = 5.0


def test_ctrl_c_in_mid_flow_stops_everything_and_finds_no_fault(tmp_path: Path) -> None:
    with RunningDemo(tmp_path, "--rate", "30/s") as demo:
        demo.wait_until(lambda: demo.ended() >= 10, "ten orders had reached their end")
        children = demo.children()
        assert len(children) == 7
        began = time.monotonic()
        demo.interrupt()
        status, summary = demo.finish(timeout_s=DEADLINE_S)
        assert time.monotonic() - began < DEADLINE_S
    assert status == 0
    assert not any(child.is_running() for child in children)
    assert summary["killed"] == []
    assert summary["books"]["settled"] is False
    assert summary["books"]["discrepancies"] == []
    assert summary["orders"]["accepted"] == sum(summary["orders"]["outcomes"].values()) >= 10


def test_ctrl_c_after_the_last_order_gives_the_closed_books(tmp_path: Path) -> None:
    with RunningDemo(tmp_path, "--limit", "20") as demo:
        demo.wait_until(lambda: "the books balance" in demo.said, "the books were closed")
        assert demo.process.poll() is None
        began = time.monotonic()
        demo.interrupt()
        status, summary = demo.finish(timeout_s=DEADLINE_S)
        assert time.monotonic() - began < DEADLINE_S
    assert status == 0
    assert summary["books"]["settled"] is True
    assert summary["balanced"]


def test_ctrl_c_while_it_starts_stops_everything(tmp_path: Path) -> None:
    with RunningDemo(tmp_path) as demo:
        children = demo.wait_until(lambda: len(demo.children()) == 7 and demo.children(), "all were started")
        demo.wait_until(lambda: "starting" in demo.said, "it listens to signals")
        began = time.monotonic()
        demo.interrupt()
        demo.process.wait(DEADLINE_S)
        assert time.monotonic() - began < DEADLINE_S
    assert not any(child.is_running() for child in children)


def test_ctrl_c_does_not_wait_for_a_service_that_hangs(tmp_path: Path) -> None:
    with RunningDemo(tmp_path, "--rate", "30/s") as demo:
        demo.wait_until(lambda: demo.ended() >= 5, "five orders had reached their end")
        children = demo.children()
        demo.child("shipping").send_signal(signal.SIGSTOP)
        began = time.monotonic()
        demo.interrupt()
        _, summary = demo.finish(timeout_s=DEADLINE_S)
        assert time.monotonic() - began < DEADLINE_S
    assert summary["killed"] == ["shipping"]
    assert not any(child.is_running() for child in children)


def test_nothing_outlives_a_demo_that_is_killed(tmp_path: Path) -> None:
    with RunningDemo(tmp_path) as demo:
        demo.wait_until(lambda: demo.ended() >= 1, "an order had reached its end")
        children = demo.children()
        demo.process.kill()
        for child in children:
            child.wait(10)
