"""When this process began: the demo counts its seconds from the command, not from its first line of Python."""

from __future__ import annotations

import os
import time
from pathlib import Path

_IMPORTED = time.monotonic()


def command_started() -> float:
    """The start of this process on the clock of `time.monotonic()`; where the system does not tell, this import."""
    try:
        # proc(5): field 22 is the start in clock ticks after boot; the name in field 2 may hold spaces.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot)
    except (OSError, ValueError, IndexError, AttributeError):
        return _IMPORTED
