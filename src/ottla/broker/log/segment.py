"""One file of a partition's log, with the sparse index that is kept in memory."""

from __future__ import annotations

import fcntl
import os
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from ottla.broker.log.batch import HEADER_SIZE, BatchHeader, read_header

INDEX_INTERVAL_BYTES = 4096
SCAN_BYTES = 1 << 18
FIND_BYTES = INDEX_INTERVAL_BYTES + HEADER_SIZE


class Segment:
    """Batches from `base_offset` on, in one append-only file named after that offset.

    The index holds (offset, position, largest timestamp up to here) about every 4 KiB, always at the start of a batch.
    Not thread-safe, except `sync`, which only uses the file descriptor.
    """

    __slots__ = (
        "base_offset",
        "created_at",
        "fd",
        "index_offsets",
        "index_positions",
        "index_timestamps",
        "last_timestamp",
        "max_timestamp",
        "path",
        "size",
    )

    def __init__(self, path: Path, base_offset: int, created_at: float) -> None:
        self.path = path
        self.base_offset = base_offset
        self.created_at = created_at
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.size = 0
        self.max_timestamp = -1
        self.last_timestamp = -1
        self.index_offsets = array("q")
        self.index_positions = array("q")
        self.index_timestamps = array("q")

    @staticmethod
    def file_name(base_offset: int) -> str:
        return f"{base_offset:020d}.log"

    def append(self, chunks: list[bytes], header: BatchHeader, base_offset: int) -> None:
        """Writes a batch at the end. On any failure the file is as before and the OSError goes on.

        Raises:
            OSError: The write failed (a full disk is ENOSPC); what was written of it has been cut off again.
        """
        start, expected = self.size, header.size
        try:
            written = os.pwritev(self.fd, chunks, start)
            if written < expected:
                rest = b"".join(chunks)
                while written < expected:
                    written += os.pwrite(self.fd, memoryview(rest)[written:], start + written)
        except OSError:
            os.ftruncate(self.fd, start)
            raise
        self.note(base_offset, start, header.max_timestamp)
        self.size = start + expected

    def note(self, base_offset: int, position: int, timestamp: int) -> None:
        """Takes a batch at `position` into the index, if it is time for an entry."""
        positions = self.index_positions
        if not positions or position - positions[-1] >= INDEX_INTERVAL_BYTES:
            self.index_offsets.append(base_offset)
            positions.append(position)
            self.index_timestamps.append(self.max_timestamp)
        if timestamp > self.max_timestamp:
            self.max_timestamp = timestamp
        self.last_timestamp = timestamp

    def position_before(self, offset: int) -> int:
        """The position of an indexed batch at or before `offset`."""
        at = bisect_right(self.index_offsets, offset) - 1
        return self.index_positions[at] if at >= 0 else 0

    def position_before_time(self, timestamp: int) -> int:
        """An indexed position before which every record is older than `timestamp`."""
        at = bisect_right(self.index_timestamps, timestamp - 1) - 1
        return self.index_positions[at] if at >= 0 else 0

    def whole_batches_until(self, start: int, limit: int) -> int:
        """The largest indexed batch boundary in (start, limit]; `start` if there is none."""
        if limit >= self.size:
            return self.size
        at = bisect_right(self.index_positions, limit) - 1
        return max(start, self.index_positions[at]) if at >= 0 else start

    def read(self, position: int, size: int) -> bytes:
        return os.pread(self.fd, size, position)

    def headers(self, position: int = 0, at_once: int = SCAN_BYTES) -> Iterator[tuple[int, BatchHeader]]:
        """Walks the batches from `position` (a boundary) on: (position, header). Reads `at_once` bytes a time."""
        stop = self.size
        while position + HEADER_SIZE <= stop:
            data = os.pread(self.fd, min(at_once, stop - position), position)
            at = 0
            while at + HEADER_SIZE <= len(data):
                header = read_header(data, at)
                yield position + at, header
                at += header.size
            position += at

    def find(self, offset: int) -> tuple[int, BatchHeader] | None:
        """The batch that contains `offset`, or the first one after it."""
        for position, header in self.headers(self.position_before(offset), FIND_BYTES):
            if header.last_offset >= offset:
                return position, header
        return None

    def truncate(self, size: int) -> None:
        os.ftruncate(self.fd, size)
        self.size = size

    def sync(self) -> None:
        """Makes the file durable. Called from the flusher's thread."""
        sync_file(self.fd)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def delete(self) -> None:
        """Removes the file. The descriptor stays open while the flusher may still use it; `close` ends it."""
        self.path.unlink(missing_ok=True)


def sync_file(fd: int) -> None:
    """Makes a file's data durable, also against power loss. Raises OSError."""
    if sys.platform == "darwin":
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # plain fsync leaves the data in the drive's cache there
    else:
        os.fdatasync(fd)


def sync_folder(path: Path) -> None:
    """Makes a folder's entries durable (a new or removed file is only that once its folder is synced)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
