"""Shows what child processes write to their log files, as they write it, each line with its process's name."""

from __future__ import annotations

import os
import re
import sys
import threading
from pathlib import Path

# Readable on dark and light backgrounds; red is left to errors.
COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
POLL_S = 0.05

# What `ottla run` writes (see logs.py): time, level, service, message.
LEVEL = re.compile(r"^(\S+Z )(WARNING|ERROR|CRITICAL)\b")
YELLOW, RED = 33, 31


class LogTail:
    """Follows log files from a thread of its own. Use it with `with`; leaving prints what is still unprinted.

    Args:
        log_dir: Where the files `NAME.log` are.
    """

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._lock = threading.Lock()
        self._positions: dict[str, int] = {}
        self._colours: dict[str, int] = {}
        self._width = 0
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="log-tail", daemon=True)

    def __enter__(self) -> LogTail:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self.drain(partial=True)

    def add(self, name: str) -> None:
        """Follows one more process. What its file holds already is not shown."""
        with self._lock:
            if name not in self._colours:
                path = self._path(name)
                self._positions[name] = path.stat().st_size if path.exists() else 0
                self._colours[name] = COLOURS[len(self._colours) % len(COLOURS)]
                self._width = max(self._width, len(name))

    def say(self, name: str, text: str, *, colour: int = 1) -> None:
        """Prints our own words, beneath what the processes have written until now."""
        self.drain()
        with self._lock:
            for line in text.splitlines():
                self._print(name, line, colour)

    def drain(self, *, partial: bool = False) -> None:
        """Prints all complete new lines; with `partial`, also a last line that has no end yet."""
        with self._lock:
            for name in self._colours:
                for line in self._new_lines(name, partial):
                    self._print(name, line, self._colours[name])

    def _path(self, name: str) -> Path:
        return self._log_dir / f"{name}.log"

    def _follow(self) -> None:
        while not self._stopping.wait(POLL_S):
            self.drain()

    def _new_lines(self, name: str, partial: bool) -> list[str]:
        try:
            with self._path(name).open("rb") as file:
                file.seek(self._positions[name])
                new = file.read()
        except FileNotFoundError:
            return []
        if not partial:
            new = new[: new.rfind(b"\n") + 1]
        self._positions[name] += len(new)
        return new.decode("utf-8", "replace").splitlines()

    def _print(self, name: str, line: str, colour: int) -> None:
        prefix = f"{name:<{self._width}} |"
        if self._coloured:
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
            line = LEVEL.sub(_coloured_level, line)
        print(f"{prefix} {line}", flush=True)


def _coloured_level(found: re.Match[str]) -> str:
    colour = YELLOW if found[2] == "WARNING" else RED
    return f"{found[1]}\x1b[{colour}m{found[2]}\x1b[0m"
