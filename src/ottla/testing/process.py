"""A server in a process of its own: started, waited for, killed, stopped, its log kept."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ottla.errors import ServerFailed

# A test run that is killed outright must not leave servers behind. Linux can tie a child's life to its parent's:
# prctl(PR_SET_PDEATHSIG = 1, SIGKILL). It survives exec. The parent may be gone before prctl took effect: ask after it.
DIE_WITH_PARENT = """
import os, sys
if sys.platform == "linux" and int(sys.argv[1]):
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
del sys.argv[1]
"""
_EXEC = DIE_WITH_PARENT + "os.execvp(sys.argv[1], sys.argv[1:])"

_POLL_INTERVAL_S = 0.005


def parent_argument() -> str:
    """The argument `DIE_WITH_PARENT` wants: whom to die with, or 0 for nobody.

    The kernel sends the signal when the *thread* that started the child ends. So only the main thread asks for it.
    """
    return str(os.getpid() if threading.current_thread() is threading.main_thread() else 0)


def run_python(program: str, *arguments: str) -> list[str]:
    """The command that runs `program` in this interpreter, dying with this process."""
    return [sys.executable, "-c", DIE_WITH_PARENT + program, parent_argument(), *arguments]


def run_command(*command: str) -> list[str]:
    """The command that becomes `command`, dying with this process."""
    return [sys.executable, "-S", "-E", "-c", _EXEC, parent_argument(), *command]


class ServerProcess:
    """One process, from its start to its end.

    Args:
        name: What it is, in words, for messages (`"embedded broker"`).
        command: Program and arguments.
        log: Standard output and error are appended here.
        env: Added to the environment.
    """

    def __init__(self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            # A session of its own: Ctrl-C in the terminal reaches the tests, which then stop their servers in order.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def wait_for_line(self, pattern: re.Pattern[str], timeout_s: float) -> re.Match[str]:
        """Waits until a line of this process's output matches, and gives the match.

        Raises:
            ServerFailed: It ended first, or `timeout_s` passed. The message ends with the last lines of the log.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            # Liveness first, then the log: a line written just before the end is still seen.
            alive = self.alive
            if found := pattern.search(self._output()):
                return found
            if not alive:
                raise self._failed(f"ended with status {self._process.returncode} before it was ready")
            if time.monotonic() > deadline:
                self.kill()
                raise self._failed(f"was not ready within {timeout_s:g} s")
            time.sleep(_POLL_INTERVAL_S)

    def kill(self) -> None:
        """SIGKILL, and waits for the end. Nothing happens if it has ended already."""
        if self.alive:
            self._process.kill()
        self._process.wait()

    def stop(self, stop_signal: signal.Signals, timeout_s: float) -> int:
        """Asks with `stop_signal`, kills if that has no effect in time. Gives the exit status (negative: a signal)."""
        if self.alive:
            self._process.send_signal(stop_signal)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode

    def _output(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", "replace")

    def _failed(self, what: str) -> ServerFailed:
        tail = "\n".join(self._output().splitlines()[-40:]) or "(it wrote nothing)"
        return ServerFailed(f"{self.name} {what}. Its log, {self._log}, ends with:\n{tail}")
