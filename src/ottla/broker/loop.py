"""The event loop: one thread, one selector, timers, and a way in for other threads.

Not asyncio: its transports copy what a socket does not take at once, which halves large fetches, and importing it
costs a good part of the start-up time and memory this broker is allowed.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("ottla.broker")

Callback = Callable[[], None]

AT_ONCE_SECONDS = 0.00005


class Timer:
    """A callback at a time. `cancel` makes it never come."""

    __slots__ = ("callback", "deadline")

    def __init__(self, deadline: float, callback: Callback) -> None:
        self.deadline = deadline
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """Runs until `stop`. All methods but `post` belong to the thread that runs it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._counter = itertools.count()
        self._posted: deque[Callback] = deque()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._selector.register(self._wake_in, selectors.EVENT_READ, self._drain)
        self._woken = False  # a wake-up is on its way; only a hint that saves further ones
        self._running = True
        self.waited = True  # in this turn: whether what is handled now had not arrived before
        self.before_wait: Callback | None = None

    def now(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        timer = Timer(self.now() + seconds, callback)
        heapq.heappush(self._timers, (timer.deadline, next(self._counter), timer))
        return timer

    def post(self, callback: Callback) -> None:
        """Runs a callback in the loop, soon. Callable from any thread and from signal handlers."""
        self._posted.append(callback)
        if self._woken:
            return
        self._woken = True
        try:
            self._wake_out.send(b"\0")
        except (BlockingIOError, InterruptedError):
            pass  # the pipe is full of wake-ups already
        except OSError:
            pass  # the loop is closed

    def watch(self, sock: socket.socket, events: int, callback: Callable[[int], None]) -> None:
        """Calls back with the events that are ready, until `unwatch`."""
        try:
            self._selector.modify(sock, events, callback)
        except KeyError:
            self._selector.register(sock, events, callback)

    def unwatch(self, sock: socket.socket) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(sock)

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        while self._running:
            self.turn()

    def turn(self, timeout: float | None = None) -> None:
        """Waits for something to happen (at most `timeout` seconds) and handles it."""
        if self.before_wait is not None:
            self.before_wait()
        limit, begun = self._wait(timeout), self.now()
        ready = self._selector.select(limit)
        self.waited = self.now() - begun > AT_ONCE_SECONDS
        for key, events in ready:
            key.data(events)
        self._run_timers()
        while self._posted:
            _guarded(self._posted.popleft())

    def close(self) -> None:
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()

    def _wait(self, limit: float | None) -> float | None:
        if self._posted or not self._running:
            return 0.0
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return limit
        due = max(self._timers[0][0] - self.now(), 0.0)
        return due if limit is None else min(due, limit)

    def _run_timers(self) -> None:
        now = self.now()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                _guarded(callback)

    def _drain(self, _: Any) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError):
            while self._wake_in.recv(4096):
                pass
        # Only now, with the pipe empty, and before the callbacks are taken. Were it cleared first, a wake-up sent in
        # between would be read away here while `_woken` says one is on its way, and nobody would ever send another.
        self._woken = False


def _guarded(callback: Callback) -> None:
    """Runs a callback; a failure is logged, and does not take the rest of the broker down."""
    try:
        callback()
    except Exception:
        logger.exception("%r failed", callback)
