"""An append-only file of small JSON records, for everything that is not a record batch: topics, offsets, groups.

Each record is its length, its CRC32C and its JSON, with spaces behind it up to a multiple of eight bytes. State is what
replaying the records gives. A torn tail is cut, damage in the middle is CorruptLog, as in a partition's log. When the
file has grown well beyond what the state needs, it is written anew and renamed into place.

The spaces are for telling the two apart: with them no edge of a sector runs through a record's head, so that whatever
part of a record a lost sector held shows as zeros, which no record has eight of in a row (see `lost_writes`).
"""

from __future__ import annotations

import json
import logging
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ottla.broker.log.batch import crc_of
from ottla.broker.log.durable import sync_all, sync_file, sync_folder
from ottla.broker.log.lost_writes import has_gap
from ottla.errors import CorruptLog

logger = logging.getLogger("ottla.broker")

_HEAD = struct.Struct(">II")
_ALIGNED = 8  # bytes: the head's size, and a divisor of a sector's
COMPACT_ABOVE_BYTES = 1 << 20
Entry = list[Any]


class Journal:
    """One journal file. Used from the event loop's thread, but for `mark` and `sync`.

    Args:
        path: The file; created if missing.
        replay: Takes each stored record, in order, while opening.
        snapshot: Gives the records that rebuild the present state, for writing the file anew.

    Raises:
        CorruptLog: A record in the middle is damaged.
    """

    def __init__(self, path: Path, replay: Callable[[Entry], None], snapshot: Callable[[], Iterable[Entry]]) -> None:
        self.path = path
        self._snapshot = snapshot
        self._folder_dirty = False
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(self._fd, 0o600)  # the catalogue holds credentials: nobody else's business
        self._size = self._recover(replay)
        self._limit = max(COMPACT_ABOVE_BYTES, 4 * self._size)
        sync_folder(path.parent)

    @property
    def size(self) -> int:
        """Bytes."""
        return self._size

    def append(self, *entries: Entry) -> None:
        """Writes records at the end, all or none.

        Raises:
            OSError: Nothing was written.
        """
        # Before the records are written and not after: they are changes that the caller has yet to make to its state,
        # so that the state now is exactly what the file holds.
        if self._size > self._limit:
            self._compact_if_possible()
        data = _encode(entries, self._size)
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], self._size + written)
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)

    def _compact_if_possible(self) -> None:
        try:
            self.compact()
        except OSError as error:
            # A disk too full for a second copy is no reason to refuse the records: the old file goes on being used.
            self._limit = 2 * self._size
            logger.warning("%s could not be written anew, going on with it as it is: %s", self.path, error)

    def compact(self) -> None:
        """Writes the present state to a new file and puts it in place of the old one. Blocks; rare.

        Raises:
            OSError: The old file is in place and in use, as before.
        """
        fresh = self.path.with_suffix(".new")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        data = _encode(self._snapshot(), 0)
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(fd, data[written:], written)
            sync_all(fd)
            os.replace(fresh, self.path)
        except OSError:
            os.close(fd)
            fresh.unlink(missing_ok=True)
            raise
        # From here on the new file is the journal; that its name is durable is the next sync's business.
        self._folder_dirty = True
        # The flusher may be syncing the descriptor right now; dup2 swaps the file beneath it without ever closing it.
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)
        self._size = len(data)
        self._limit = max(COMPACT_ABOVE_BYTES, 4 * self._size)

    def mark(self) -> object:
        return None

    def sync(self) -> None:
        sync_file(self._fd)
        if self._folder_dirty:
            self._folder_dirty = False
            sync_folder(self.path.parent)

    def synced(self, mark: object) -> None:
        """Nothing to do: readers see the state in memory."""

    def close(self) -> None:
        os.close(self._fd)

    def _recover(self, replay: Callable[[Entry], None]) -> int:
        data = self.path.read_bytes()
        position = 0
        while position < len(data):
            stop = _intact_until(data, position)
            if stop is None:
                self._cut(data, position)
                break
            replay(json.loads(data[position + _HEAD.size : stop]))
            position = stop
        return position

    def _cut(self, data: bytes, position: int) -> None:
        for later in range(position + 1, len(data) - _HEAD.size):
            stop = _intact_until(data, later)
            if stop is not None and stop > later + _HEAD.size + 1:
                if has_gap(data[position:later], position):
                    break  # written between two syncs, the later record reached the disk and the earlier did not
                raise CorruptLog(
                    f"{self.path}, position {position}: a damaged record, and intact records follow (at {later}). "
                    f"Restore the file from a backup."
                )
        logger.warning(
            "%s, position %d: cutting off a torn tail of %d bytes", self.path, position, len(data) - position
        )
        os.ftruncate(self._fd, position)
        sync_all(self._fd)


def _encode(entries: Iterable[Entry], position: int) -> bytes:
    """The records to write at a position of the file."""
    data = bytearray()
    for entry in entries:
        body = json.dumps(entry, separators=(",", ":")).encode()
        body += b" " * (-(position + len(data) + _HEAD.size + len(body)) % _ALIGNED)
        data += _HEAD.pack(len(body), crc_of(body)) + body
    return bytes(data)


def _intact_until(data: bytes, position: int) -> int | None:
    """The end of the intact record at `position`; None if there is none."""
    start = position + _HEAD.size
    if start > len(data):
        return None
    length, crc = _HEAD.unpack_from(data, position)
    stop = start + length
    if length == 0 or stop > len(data) or crc_of(data[start:stop]) != crc:
        return None
    return int(stop)
