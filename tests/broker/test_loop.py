"""The event loop: timers, and callbacks from other threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ottla.broker.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def test_no_wake_up_is_lost_whoever_posts(loop: Loop) -> None:
    thread = threading.Thread(target=loop.run)
    thread.start()
    late: list[str] = []

    def ask(name: str) -> None:
        for number in range(3000):
            answered = threading.Event()
            loop.post(answered.set)
            if not answered.wait(5):
                late.append(f"{name} {number}")
                return

    askers = [threading.Thread(target=ask, args=(name,)) for name in "abc"]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    loop.stop()
    loop.post(lambda: None)
    thread.join(5)
    assert not thread.is_alive()
    assert late == []


def test_timers_run_in_order_and_cancelled_ones_never(loop: Loop) -> None:
    ran: list[int] = []
    loop.call_later(0.02, lambda: ran.append(2))
    loop.call_later(0.01, lambda: ran.append(1))
    loop.call_later(0.005, lambda: ran.append(0)).cancel()
    loop.call_later(0.03, loop.stop)
    loop.run()
    assert ran == [1, 2]


def test_a_failing_callback_does_not_stop_the_loop(loop: Loop) -> None:
    ran: list[int] = []
    loop.call_later(0, lambda: [][1])
    loop.post(lambda: {}["missing"])
    loop.post(lambda: ran.append(1))
    loop.call_later(0.01, loop.stop)
    loop.run()
    assert ran == [1]


def test_waiting_costs_no_time_of_the_processor(loop: Loop) -> None:
    loop.call_later(0.3, loop.stop)
    begun = time.process_time()
    loop.run()
    assert time.process_time() - begun < 0.1
