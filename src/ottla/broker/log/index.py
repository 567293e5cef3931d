"""The sparse index of one segment: which offset and time lies where, about every 4 KiB. Kept in a file beside the log.

The file holds what the log says anyway, so it is never trusted further than its checksum: missing, torn, flipped or of
another segment, it is made anew from the log. It may stand for the first part of a segment only; the rest is walked.

Form, little-endian: magic, base offset, inode of the log's file, bytes of the log it stands for, number of entries,
largest timestamp before that place; the entries' offsets, positions and timestamps, one array after the other; CRC32C
of all before it.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from bisect import bisect_right
from pathlib import Path

from ottla.broker.log.batch import crc_of

INTERVAL_BYTES = 4096
SUFFIX = ".index"
_MAGIC = b"OTTLAIX1"
_HEAD = struct.Struct("<8sqQqqq")
_CRC = struct.Struct("<I")
_ENTRY_BYTES = 3 * 8
Identity = tuple[int, int]  # the segment's base offset, the inode of its file


class OffsetIndex:
    """Entries (offset, position, largest timestamp before), always at the start of a batch.

    Attributes:
        covered: Bytes of the log that have been taken in.
        max_timestamp: The largest timestamp (ms) of the batches before `covered`; -1 for none.
    """

    __slots__ = ("covered", "max_timestamp", "offsets", "positions", "timestamps")

    def __init__(self) -> None:
        self.offsets = array("q")
        self.positions = array("q")
        self.timestamps = array("q")
        self.covered = 0
        self.max_timestamp = -1

    def note(self, base_offset: int, position: int, size: int, timestamp: int) -> None:
        """Takes in the batch of `size` bytes at `position`; it gets an entry if it is time for one."""
        positions = self.positions
        if not positions or position - positions[-1] >= INTERVAL_BYTES:
            self.offsets.append(base_offset)
            positions.append(position)
            self.timestamps.append(self.max_timestamp)
        if timestamp > self.max_timestamp:
            self.max_timestamp = timestamp
        self.covered = position + size

    def position_before(self, offset: int) -> int:
        """The position of an indexed batch at or before `offset`."""
        at = bisect_right(self.offsets, offset) - 1
        return self.positions[at] if at >= 0 else 0

    def position_before_time(self, timestamp: int) -> int:
        """An indexed position before which every record is older than `timestamp`."""
        at = bisect_right(self.timestamps, timestamp - 1) - 1
        return self.positions[at] if at >= 0 else 0

    def boundary_before(self, position: int) -> int:
        """The last indexed batch boundary at or before `position`; 0 if there is none."""
        at = bisect_right(self.positions, position) - 1
        return self.positions[at] if at >= 0 else 0

    def encode(self, identity: Identity) -> bytes:
        """The file's content."""
        head = _HEAD.pack(_MAGIC, *identity, self.covered, len(self.offsets), self.max_timestamp)
        body = head + b"".join(_little(part).tobytes() for part in (self.offsets, self.positions, self.timestamps))
        return body + _CRC.pack(crc_of(body))


def decode(data: bytes, identity: Identity, log_size: int) -> OffsetIndex | None:
    """The index in a file's content; None if it is damaged, of another segment, or of a longer log than there is."""
    if len(data) < _HEAD.size + _CRC.size:
        return None
    magic, base, inode, covered, count, max_timestamp = _HEAD.unpack_from(data)
    end = _HEAD.size + count * _ENTRY_BYTES
    if magic != _MAGIC or (base, inode) != identity or not 0 <= covered <= log_size or len(data) != end + _CRC.size:
        return None
    if _CRC.unpack_from(data, end)[0] != crc_of(data[:end]):
        return None
    index = OffsetIndex()
    index.covered, index.max_timestamp = covered, max_timestamp
    for number, part in enumerate((index.offsets, index.positions, index.timestamps)):
        start = _HEAD.size + number * count * 8
        part.frombytes(data[start : start + count * 8])
        if sys.byteorder == "big":
            part.byteswap()
    return index


def read_index(path: Path, identity: Identity, log_size: int) -> OffsetIndex | None:
    """The index of a segment, if its file is whole; see `decode`. Files larger than any true one are not even read."""
    try:
        if os.stat(path).st_size > (log_size // INTERVAL_BYTES + 1) * _ENTRY_BYTES + _HEAD.size + _CRC.size:
            return None
        return decode(path.read_bytes(), identity, log_size)
    except OSError:
        return None


def write_index(path: Path, content: bytes) -> None:
    """Puts an index file in place, whole or not at all as long as the machine runs; after power loss its checksum says.

    Raises:
        OSError: The file is as before, or gone.
    """
    fresh = path.with_suffix(".index-new")
    try:
        fresh.write_bytes(content)
        os.replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _little(values: array[int]) -> array[int]:
    if sys.byteorder == "little":
        return values
    swapped = array("q", values)
    swapped.byteswap()
    return swapped
