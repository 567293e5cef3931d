"""How these tests run the command line: in this process where only output and status matter, else in one of its own."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from ottla.cli.root import run

DEADLINE_S = 30.0


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Its output, one JSON document."""
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        """Its output, one JSON document a line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Ottla(Protocol):
    def __call__(self, *arguments: str, stdin: str = "") -> Outcome: ...


@pytest.fixture
def ottla(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ottla:
    """Runs one command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    # Set first, so that monkeypatch takes back what `--traceback` sets.
    monkeypatch.setenv("OTTLA_TRACEBACK", "")

    def call(*arguments: str, stdin: str = "") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        status = run(list(arguments))
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return call


class Running:
    """An `ottla` process whose output is gathered as it comes."""

    def __init__(self, arguments: tuple[str, ...], cwd: Path, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ottla.cli", *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """Everything so far, standard error included."""
        return "".join(self.lines)

    def wait_for(self, pattern: str, *, after: int = 0, timeout_s: float = DEADLINE_S) -> re.Match[str]:
        """Waits for a line in which `pattern` is found, `after` so many lines."""
        deadline = time.monotonic() + timeout_s
        with self._grown:
            while True:
                for line in self.lines[after:]:
                    if found := re.search(pattern, line):
                        return found
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    pytest.fail(f"no line with {pattern!r}; status {self.process.poll()}, output:\n{self.output}")
                self._grown.wait(min(left, 0.2))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and gives the exit status."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._grown:
                self.lines.append(line)
                self._grown.notify_all()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts an `ottla` process: `start("run", "svc:app", cwd=..., env={...})`. Whatever still runs is ended."""
    running: list[Running] = []

    def begin(*arguments: str, cwd: Path = tmp_path, env: dict[str, str] | None = None) -> Running:
        running.append(Running(arguments, cwd, env or {}))
        return running[-1]

    yield begin
    for one in running:
        one.close()
