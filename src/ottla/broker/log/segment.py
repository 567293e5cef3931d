"""One file of a partition's log. File and index are opened when they are needed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ottla.broker.log import index
from ottla.broker.log.batch import HEADER_SIZE, LENGTH_OVERHEAD, MAGIC, BatchHeader, is_intact, read_header
from ottla.broker.log.durable import reserve, start_writing, sync_file, write_at
from ottla.broker.log.index import INTERVAL_BYTES, OffsetIndex
from ottla.broker.log.open_files import FILES, OpenFiles
from ottla.errors import CorruptLog

SCAN_BYTES = 1 << 18
FIND_BYTES = INTERVAL_BYTES + HEADER_SIZE
RESERVED_BYTES_MAX = 16 << 20
SUFFIX = ".log"
_NO_BATCH = HEADER_SIZE - LENGTH_OVERHEAD  # a smaller length field is no batch's
_AGAIN = 1.5  # the index of a growing segment is saved anew when it has so many times the entries


class Segment:
    """Batches from `base_offset` on, in one append-only file named after that offset.

    Used from the event loop's thread only, except `sync`.

    Attributes:
        size: Bytes of whole batches.
        max_timestamp, first_timestamp: The largest timestamp of all its batches and that of the first; -1 for none.
        unverified: Batches before this position have not been checked since the start of the process: they are
            checked when they are first read, or by the scrubber, which then sets it to 0.
        fd: The open file, or -1. While it is open, `index` is there.
    """

    __slots__ = (
        "_files",
        "_index",
        "_reserved",
        "_saved",
        "base_offset",
        "created_at",
        "fd",
        "first_timestamp",
        "max_timestamp",
        "path",
        "pins",
        "recent",
        "size",
        "unverified",
    )

    def __init__(self, path: Path, base_offset: int, created_at: float, *, files: OpenFiles = FILES) -> None:
        self.path = path
        self.base_offset = base_offset
        self.created_at = created_at
        self.fd = -1
        self.pins = 0
        self.recent = False
        self.size = 0
        self.unverified = 0
        self.max_timestamp = -1
        self.first_timestamp = -1
        self._files = files
        self._index: OffsetIndex | None = None
        self._saved = 0  # bytes of the log that the index file stands for
        self._reserved = 0  # up to here there is disk space

    @staticmethod
    def file_name(base_offset: int) -> str:
        return f"{base_offset:020d}{SUFFIX}"

    @classmethod
    def create(cls, path: Path, base_offset: int, created_at: float) -> Segment:
        """A new, empty segment. Raises OSError."""
        segment = cls(path, base_offset, created_at)
        segment._index = OffsetIndex()
        segment._open(os.O_CREAT)
        return segment

    def adopt(self, entries: OffsetIndex, size: int, first_timestamp: int) -> None:
        """Takes over what is known of a file that has just been written."""
        self._index, self.size = entries, size
        self.max_timestamp, self.first_timestamp = entries.max_timestamp, first_timestamp

    # Opening

    def _open(self, flags: int = 0) -> int:
        self.fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | flags, 0o644)
        self.recent = True
        self._files.add(self)
        return self.fd

    def descriptor(self) -> int:
        """The open file. Raises OSError if it cannot be opened."""
        self.recent = True
        return self.fd if self.fd >= 0 else self._open()

    @property
    def index(self) -> OffsetIndex:
        """The index, read from its file or made from the log. Raises CorruptLog if the log makes no sense."""
        return self._index if self._index is not None else self._load_index()

    def _load_index(self) -> OffsetIndex:
        """Reads the saved index, and walks the log from where that ends."""
        found = index.read_index(self._index_path, self._identity(), self.size)
        try:
            self._index = self._completed(found or OffsetIndex())
        except CorruptLog:
            if found is None:
                raise
            found = None  # perhaps only the index is wrong: the log itself shall say
            self._index = self._completed(OffsetIndex())
        self._saved = found.covered if found else 0
        return self._index

    def _completed(self, entries: OffsetIndex) -> OffsetIndex:
        for position, header in self.headers(entries.covered):
            entries.note(header.base_offset, position, header.size, header.max_timestamp)
        return entries

    def rest(self) -> None:
        """Lets go of the index too, if its file can give it back."""
        if self._saved == self.size:
            self._index = None

    def _identity(self) -> tuple[int, int]:
        # Compaction writes another file under the same name: an index written for the old one must not be taken for it.
        return self.base_offset, (os.fstat(self.fd) if self.fd >= 0 else os.stat(self.path)).st_ino

    @property
    def _index_path(self) -> Path:
        return self.path.with_suffix(index.SUFFIX)

    def unsaved_index(self, *, growing: bool) -> tuple[Path, bytes, int] | None:
        """What to write so that the index need not be made again: path, content, and what to tell `index_saved`.

        Args:
            growing: Whether more will be appended: then only if there is a good deal to save.
        """
        if self._index is None or self._index.covered == self._saved:
            return None
        if growing and self._index.covered < _AGAIN * self._saved + (1 << 20):
            return None
        return self._index_path, self._index.encode(self._identity()), self._index.covered

    def index_saved(self, covered: int) -> None:
        """The index file has been written and stands for so many bytes."""
        self._saved = covered

    # Writing

    def append(
        self,
        chunks: list[bytes | memoryview],
        header: BatchHeader,
        base_offset: int,
        check: Callable[[], None] | None = None,
    ) -> None:
        """Writes a batch at the end. On any failure the file is as before and the error goes on.

        Args:
            chunks: The batch.
            header: Its header.
            base_offset: Its offset.
            check: Looks at the batch while the disk is already at work on it, for large ones that somebody waits for;
                raises if it may not stay.

        Raises:
            OSError: The write failed (a full disk is ENOSPC); what was written of it has been cut off again.
        """
        start, expected = self.size, header.length + LENGTH_OVERHEAD
        fd = self.fd if self.fd >= 0 else self._open()
        entries = self._index if self._index is not None else self._load_index()
        self.recent = True
        if check is not None and start + expected > self._reserved:
            # As much again as there is: many partitions together take no more than twice their data.
            more = expected + min(start, RESERVED_BYTES_MAX)
            self._reserved = start + more
            reserve(fd, start, more)
        try:
            written = write_at(fd, chunks, start)
            if written < expected:
                rest = b"".join(chunks)
                while written < expected:
                    written += os.pwrite(fd, memoryview(rest)[written:], start + written)
            if check is not None:
                start_writing(fd, start, expected)
                check()
        except BaseException:
            self._reserved = 0  # it goes with what is cut off
            os.ftruncate(fd, start)
            raise
        timestamp = header.max_timestamp
        entries.note(base_offset, start, expected, timestamp)
        if timestamp > self.max_timestamp:
            self.max_timestamp = timestamp
        if self.first_timestamp < 0:
            self.first_timestamp = timestamp
        self.size = start + expected

    def release(self) -> None:
        """Gives back the disk space that was reserved for more: nothing will be appended for the time being."""
        if self._reserved > self.size:
            with contextlib.suppress(OSError):  # then it stays reserved, which harms nothing
                os.ftruncate(self.descriptor(), self.size)
        self._reserved = 0

    def took(self, base_offset: int, position: int, size: int, timestamp: int) -> None:
        """Counts in a batch that is in the file already, behind all others."""
        self.index.note(base_offset, position, size, timestamp)
        self.size = position + size
        if timestamp > self.max_timestamp:
            self.max_timestamp = timestamp
        if self.first_timestamp < 0:
            self.first_timestamp = timestamp

    # Reading

    def position_before(self, offset: int) -> int:
        """The position of an indexed batch at or before `offset`."""
        return self.index.position_before(offset)

    def position_before_time(self, timestamp: int) -> int:
        """An indexed position before which every record is older than `timestamp`."""
        return self.index.position_before_time(timestamp)

    def whole_batches_until(self, start: int, limit: int) -> int:
        """The largest indexed batch boundary in (start, limit]; `start` if there is none."""
        return self.size if limit >= self.size else max(start, self.index.boundary_before(limit))

    def read(self, position: int, size: int) -> bytes:
        return os.pread(self.descriptor(), size, position)

    def read_intact(self, position: int, size: int, end_offset: int) -> bytes:
        """Whole batches, each checked: as many of them as are intact.

        A batch's offset is not under its checksum: that it fits between its neighbours' is checked as well.

        Args:
            position: Of the first.
            size: Of all.
            end_offset: The first offset that lies behind this segment.

        Raises:
            CorruptLog: The first is not intact; names file and position.
        """
        until = self._in_order_until(self.index.boundary_before(position), position + size, end_offset)
        if until <= position:
            raise self._damage(until, "the offsets do not rise")
        data = self.read(position, min(size, until - position))
        at = 0
        while at + HEADER_SIZE <= len(data):
            header = read_header(data, at)
            if not is_intact(data, at, header):
                break
            at += header.size
        if not at and data:
            raise self._damage(position, "the batch does not match its checksum")
        return data[:at]

    def _in_order_until(self, begin: int, stop: int, end_offset: int) -> int:
        """Up to where, from `begin` to `stop`, every batch lies between its neighbours, by its offset."""
        last, before, behind = self.base_offset - 1, begin, begin
        try:
            for at, header in self.headers(begin):
                if header.base_offset <= last:
                    return before  # the offset of this batch is wrong, or that of the one before it
                if header.last_offset >= end_offset:
                    return at
                if at >= stop:
                    break
                last, before, behind = header.last_offset, at, at + header.size
        except CorruptLog:
            return behind
        return stop

    def headers(self, position: int = 0, at_once: int = SCAN_BYTES) -> Iterator[tuple[int, BatchHeader]]:
        """Walks the batches from `position` (a boundary) on: (position, header). Reads `at_once` bytes a time.

        Raises:
            CorruptLog: What lies there is no batch.
        """
        stop = self.size
        while position + HEADER_SIZE <= stop:
            data = os.pread(self.descriptor(), min(at_once, stop - position), position)
            if len(data) < HEADER_SIZE:
                raise self._damage(position, "the file has become shorter")
            at = 0
            while at + HEADER_SIZE <= len(data):
                header = read_header(data, at)
                where, size = position + at, header.length + LENGTH_OVERHEAD
                if header.length < _NO_BATCH or header.magic != MAGIC or where + size > stop:
                    raise self._damage(where, "not a batch header")
                yield where, header
                at += size
            position += at

    def _damage(self, position: int, what: str) -> CorruptLog:
        return CorruptLog(
            f"{self.path}, position {position}: {what}: stored records are damaged. Restore the file from a backup, "
            f"or delete this partition's folder to go on without its records."
        )

    def find(self, offset: int) -> tuple[int, BatchHeader] | None:
        """The batch that contains `offset`, or the first one after it."""
        for position, header in self.headers(self.position_before(offset), FIND_BYTES):
            if header.base_offset + header.last_offset_delta >= offset:
                return position, header
        return None

    # The file

    def truncate(self, size: int) -> None:
        """Cuts the file at a batch boundary, and forgets the index. Raises OSError."""
        os.ftruncate(self.descriptor(), size)
        self.size = size
        self._reserved = 0
        self._index, self._saved = None, 0
        self._index_path.unlink(missing_ok=True)

    def sync(self) -> None:
        """Makes the file durable. Called from the flusher's threads; the file stays open meanwhile."""
        with self._files.lock:
            fd = self.fd
            self.pins += 1
        try:
            if fd >= 0:
                sync_file(fd)
            else:
                self._sync_closed()
        finally:
            with self._files.lock:
                self.pins -= 1

    def _sync_closed(self) -> None:
        # Gone means that nobody needs it any more: retention or compaction took it.
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            try:
                sync_file(fd)
            finally:
                os.close(fd)

    def close(self) -> None:
        self.release()
        with self._files.lock:
            fd, self.fd = self.fd, -1
        self._index = None  # whoever counts open files may hold on to the segment for a while
        if fd >= 0:
            os.close(fd)

    def delete(self) -> None:
        """Removes the files. The descriptor stays open while the flusher may still use it; `close` ends it."""
        self.path.unlink(missing_ok=True)
        self._index_path.unlink(missing_ok=True)
