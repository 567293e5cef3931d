"""Runs commands for benchmarks."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence


def timed(argv: Sequence[str], env: Mapping[str, str] | None = None) -> float:
    """Seconds that a command takes, as a whole process.

    Raises:
        SystemExit: It failed; its output is printed.
    """
    started = time.perf_counter()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(argv)} failed with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return seconds


def note(text: str) -> None:
    """Progress, on stderr: stdout is the result's."""
    print(text, file=sys.stderr, flush=True)
