"""How much memory processes take, from Linux's /proc."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """Megabytes (10^6 bytes) of some processes together.

    Attributes:
        rss: Resident pages, those shared between the processes counted once for each.
        pss: The same, shared pages counted once in all: what the processes really cost.
        processes: How many were counted.
    """

    rss: float
    pss: float
    processes: int


def memory_of(pids: Iterable[int]) -> Memory | None:
    """Sums up the processes that still run; None where the system has no /proc/PID/smaps_rollup."""
    rss = pss = 0.0
    counted = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        numbers = dict(line.split()[:2] for line in text.splitlines()[1:])
        rss += int(numbers["Rss:"]) * 1024 / 1e6
        pss += int(numbers["Pss:"]) * 1024 / 1e6
        counted += 1
    return Memory(rss, pss, counted) if counted else None
