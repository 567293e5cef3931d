"""What to start (`Command`), one started process (`Child`), and how it ended (`Exit`)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ottla.errors import ProcessExited, ProcessNotReady
from ottla.processes.guard import guarded
from ottla.processes.readiness import Readiness

_POLL_S = 0.02
_TAIL_BYTES = 16_384


@dataclass(frozen=True)
class Command:
    """A process to start.

    Attributes:
        name: Unique within a supervisor; also the log file's name.
        argv: Program and arguments.
        env: Added to the parent's environment.
        cwd: Working directory; the parent's if None.
        ready: How the child says that it is ready; None: it counts as ready at once.
        stop_order: Children with a higher number are stopped first (services before the broker they talk to).
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    ready: Readiness | None = None
    stop_order: int = 0


@dataclass(frozen=True)
class Exit:
    """A child ended. `returncode` is negative for a signal, as in `subprocess`; `asked` says if it was told to."""

    name: str
    returncode: int
    asked: bool
    last_lines: tuple[str, ...]
    log_file: Path

    def summary(self) -> str:
        """What happened, in a few words."""
        if self.returncode < 0:
            return f"{self.name} was ended by {signal.Signals(-self.returncode).name}"
        return f"{self.name} ended with status {self.returncode}"

    def describe(self) -> str:
        """The same, with the log file and its last lines."""
        tail = "".join(f"\n    {line}" for line in self.last_lines)
        return f"{self.summary()}. Its log is {self.log_file}" + (f", the last lines:{tail}" if tail else " (empty).")


class Child:
    """One started process. Safe to use from any thread."""

    def __init__(self, command: Command, log_file: Path, on_exit: Callable[[Exit], None]) -> None:
        """Starts the process.

        The calling thread must outlive it (see `guard.py`). The output goes straight to the log file: there is no pipe
        that could fill up, and nothing is lost when the parent dies.
        """
        self.command = command
        self.log_file = log_file
        self.ready_match: re.Match[str] | None = None
        self.asked_to_stop = False
        self._is_ready = False
        self._on_exit = on_exit
        self.started_at = time.monotonic()
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
            offset = log.seek(0, os.SEEK_END)
            self._process = subprocess.Popen(
                guarded(command.argv, os.getpid()),
                # Unbuffered: output to a file is otherwise held back by Python children, and with it the ready line.
                env={**os.environ, "PYTHONUNBUFFERED": "1", **command.env},
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A session of its own: Ctrl-C in the terminal must reach the parent only, which stops all in order.
                start_new_session=True,
            )
        self._offset = offset
        self._probe = command.ready.probe(log_file, offset) if command.ready else lambda: True
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name=f"watch-{command.name}", daemon=True).start()

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while the process runs."""
        return self._process.returncode if self._ended.is_set() else None

    @property
    def running(self) -> bool:
        return not self._ended.is_set()

    @property
    def ready(self) -> bool:
        """True once it was ready; asks now if it was not yet."""
        if not self._is_ready and self.running:
            answer = self._probe()
            if isinstance(answer, re.Match):
                self.ready_match = answer
            self._is_ready = bool(answer)
        return self._is_ready

    def wait_ready(self, timeout_s: float) -> None:
        """Waits until the child is ready.

        Raises:
            ProcessExited: It ended instead; the message holds the last lines of its log.
            ProcessNotReady: Not in time.
        """
        deadline = time.monotonic() + timeout_s
        while not self.ready:
            if not self.running:
                raise ProcessExited(self.exit().describe())
            if time.monotonic() > deadline:
                awaited = self.command.ready.describe() if self.command.ready else ""
                raise ProcessNotReady(
                    f"{self.name} was not ready after {timeout_s:g} s (waiting for {awaited}). "
                    f"Its log is {self.log_file}, the last lines:\n    " + "\n    ".join(self.last_lines())
                )
            self._ended.wait(_POLL_S)

    def wait_ended(self, timeout_s: float) -> bool:
        """Waits for the process to end; False if it still runs."""
        return self._ended.wait(max(0.0, timeout_s))

    def signal(self, number: int) -> None:
        """Sends a signal; nothing happens if the process has ended."""
        if self.running:
            self._process.send_signal(number)

    def terminate(self) -> None:
        """Asks the process to end (SIGTERM)."""
        self.asked_to_stop = True
        self.signal(signal.SIGTERM)

    def destroy(self) -> None:
        """Ends the process and whatever it started (SIGKILL to its session's process group)."""
        self.asked_to_stop = True
        if self.running:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):  # just ended, or not yet in its own group
                self.signal(signal.SIGKILL)

    def last_lines(self, count: int = 12) -> tuple[str, ...]:
        """The last lines that this process (not an earlier one of the same name) wrote."""
        try:
            with self.log_file.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(self._offset, end - _TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ()
        return tuple(text.splitlines()[-count:])

    def exit(self) -> Exit:
        """How it ended; only once it has."""
        return Exit(self.name, self._process.returncode, self.asked_to_stop, self.last_lines(), self.log_file)

    def _watch(self) -> None:
        self._process.wait()
        self._ended.set()
        self._on_exit(self.exit())


def python(*arguments: str) -> list[str]:
    """`argv` for this very interpreter."""
    return [sys.executable, *arguments]
