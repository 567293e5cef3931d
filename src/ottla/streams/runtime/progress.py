"""Restoration for people: a bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import sys
import threading
import time

from ottla.streams.runtime.instance import Instance

EVERY_S = 0.1
LOG_EVERY_S = 5.0
WIDTH = 30

log = logging.getLogger("ottla.streams")


class ProgressDisplay:
    """Shows how far restorations are, while there are any, on a thread that ends when the instance has caught up."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._on_terminal = sys.stderr.isatty()
        self._shown = False
        self._logged_at = time.monotonic()

    def start(self) -> None:
        threading.Thread(target=self._run, name="ottla-streams-progress", daemon=True).start()

    def _run(self) -> None:
        quiet_since = time.monotonic()
        while not self._instance.thread.ended:
            open_ = [one for one in self._instance.progress() if not one.standby and not one.caught_up]
            remaining = sum(max(0, one.end - one.position) for one in open_)
            if remaining:
                quiet_since = time.monotonic()
                total = sum(one.end - one.start for one in open_)
                self._show(sorted({one.task for one in open_}), total - remaining, total)
            elif self._shown:
                self._clear()
            time.sleep(EVERY_S if time.monotonic() - quiet_since < 30 else 1.0)
        self._clear()

    def _show(self, tasks: list[str], done: int, total: int) -> None:
        if self._on_terminal:
            print(f"\r\x1b[K{bar(tasks, done, total)}", end="", file=sys.stderr, flush=True)
            self._shown = True
        elif time.monotonic() - self._logged_at > LOG_EVERY_S:
            self._logged_at = time.monotonic()
            log.info("%s", bar(tasks, done, total))

    def _clear(self) -> None:
        if self._shown and self._on_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        self._shown = False


def bar(tasks: list[str], done: int, total: int) -> str:
    """`restoring 0_1, 0_2  [#####.....]  50%  500 of 1,000`."""
    share = done / total if total else 1.0
    filled = int(share * WIDTH)
    names = ", ".join(tasks[:3]) + (f" and {len(tasks) - 3} more" if len(tasks) > 3 else "")
    return f"restoring {names}  [{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%}  {done:,} of {total:,}"
