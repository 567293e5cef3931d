"""`ottla run --workers N`: the same service in several processes of one group."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from ottla.processes.guard import guarded

log = logging.getLogger("ottla.run")

POLL_S = 0.1
RESTART_S = 1.0
STOP_S = 30.0


def run_workers(target: str, count: int, port: int, name: str | None, options: Sequence[str]) -> int:
    """Runs `ottla run` in so many processes until a signal asks to stop. One that dies is started again.

    Args:
        port: The first one's; the others take free ones.
        name: Of the service; the workers are NAME-0, NAME-1, ...
        options: What each gets besides.

    Returns:
        The exit status: 0 if every worker stopped when asked.
    """
    return _Workers(target, count, port, name, options).run()


class _Workers:
    def __init__(self, target: str, count: int, port: int, name: str | None, options: Sequence[str]) -> None:
        self._commands = []
        for number in range(count):
            own = ["--port", str(port if number == 0 else 0)]
            own += ["--name", f"{name}-{number}"] if name else []
            self._commands.append([sys.executable, "-m", "ottla.cli", "run", target, *options, *own])
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._restart_at: dict[int, float] = {}
        self._stopping = False

    def run(self) -> int:
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, self._stop)
        for number in range(len(self._commands)):
            self._start(number)
        while not self._stopping:
            self._look()
            time.sleep(POLL_S)
        return self._end()

    def _start(self, number: int) -> None:
        # A session of its own: Ctrl-C in the terminal reaches this process only, which stops all of them.
        self._running[number] = subprocess.Popen(guarded(self._commands[number], os.getpid()), start_new_session=True)

    def _look(self) -> None:
        now = time.monotonic()
        for number, process in list(self._running.items()):
            if (status := process.poll()) is not None:
                log.error("worker %d ended with status %d; starting it again in %g s", number, status, RESTART_S)
                del self._running[number]
                self._restart_at[number] = now + RESTART_S
        for number, due in list(self._restart_at.items()):
            if now >= due:
                del self._restart_at[number]
                self._start(number)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _end(self) -> int:
        for process in self._running.values():
            process.terminate()
        deadline = time.monotonic() + STOP_S
        failed = False
        for number, process in self._running.items():
            try:
                failed = process.wait(max(0.1, deadline - time.monotonic())) != 0 or failed
            except subprocess.TimeoutExpired:
                log.error("worker %d did not stop within %g s; ending it", number, STOP_S)
                process.kill()
                process.wait()
                failed = True
        return 1 if failed else 0
