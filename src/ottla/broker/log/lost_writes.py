"""Telling a write that never reached the disk from damage.

Until a sync has ended, a disk may write the sectors it was given in any order. After a power cut later ones can be
there and earlier ones not, and these read as zeros. Nothing of it was acknowledged, since no sync covered it, and so
it is cut off like a torn tail. Damage that shows no such gap is damage of stored records.
"""

from __future__ import annotations

SECTOR_BYTES = 512
# A shorter run of zeros at the edge of the region may well be data: the upper bytes of an offset are.
LEAST_BYTES = 8


def has_gap(data: bytes, start: int, begins: bytes = b"") -> bool:
    """Whether a sector of the file was never written.

    Args:
        data: What the file holds from `start` on, up to what is intact again.
        start: The position in the file.
        begins: What `data` would begin with, as far as that is known: then zeros instead of it are a gap, however few
            bytes of them are in the first sector.
    """
    first = data[: min(len(begins), SECTOR_BYTES - start % SECTOR_BYTES)]
    if not any(first) and any(begins[: len(first)]):
        return True
    at = 0
    while at < len(data):
        stop = min(len(data), ((start + at) // SECTOR_BYTES + 1) * SECTOR_BYTES - start)
        if stop - at >= LEAST_BYTES and not data.count(0, at, stop) < stop - at:
            return True
        at = stop
    return False
