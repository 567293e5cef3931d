"""Buffers for requests that do not fit into the server's own one, used again and again.

A fresh megabyte for each large request costs more than handling it: the kernel maps and clears 256 pages, and unmaps
them afterwards. Measured with 1 MB batches: half of the broker's CPU time.
"""

from __future__ import annotations

POOLED_ABOVE_BYTES = 1 << 17
FIRST_BYTES = 1 << 20  # memory for a larger request grows as its bytes arrive, not by what its length claims
KEPT_MAX = 4
KEPT_BYTES_MAX = 4 << 20  # a larger buffer is given back to the system


class FramePool:
    """Some buffers that wait for the next large request. For one thread."""

    def __init__(self) -> None:
        self._free: list[bytearray] = []

    def take(self, size: int, filled: int) -> bytearray:
        """A buffer for a request of `size` bytes, of which `filled` are there. It may be larger, or have to grow."""
        if size <= POOLED_ABOVE_BYTES:
            return bytearray(size)
        for at, frame in enumerate(self._free):
            if len(frame) >= size:
                return self._free.pop(at)
        return bytearray(max(FIRST_BYTES, filled))

    def give(self, frame: bytearray) -> None:
        """Takes back a buffer nobody looks at any more."""
        if len(self._free) < KEPT_MAX and FIRST_BYTES <= len(frame) <= KEPT_BYTES_MAX:
            self._free.append(frame)
