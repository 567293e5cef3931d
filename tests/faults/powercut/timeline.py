"""When the recorder's journal was how long: what was promised a while before a power cut."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from pathlib import Path

STEP_S = 0.005


class Timeline:
    """Looks at a file's size all the time, from a thread. Context manager.

    Attributes:
        late_s: By how much the thread came late at worst: how busy the machine is.
    """

    def __init__(self, path: Path) -> None:
        self.late_s = 0.0
        self._path = path
        self._times: list[float] = []
        self._sizes: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Timeline:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(STEP_S):
            now = time.monotonic()
            if self._times:
                self.late_s = max(self.late_s, now - self._times[-1] - STEP_S)
            # The size is read after the clock: what was there by then was there `seconds` before a later time, too.
            self._times.append(now)
            self._sizes.append(self._path.stat().st_size if self._path.exists() else 0)

    def before(self, position: int, seconds: float) -> int:
        """How long the file was, at least, `seconds` before it grew beyond `position`; 0 if it was not there yet."""
        last = bisect_right(self._sizes, position) - 1
        if last < 0:
            return 0
        then = bisect_right(self._times, self._times[last] - seconds) - 1
        return self._sizes[then] if then >= 0 else 0
