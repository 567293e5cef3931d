"""Reading a partition's files back after a stop, clean or not.

Every batch is checked by length and CRC. Damage with no intact batch after it is a torn tail: the write was cut short
by a crash before it was acknowledged, so it is cut off. Damage with intact batches after it is corruption of
acknowledged records, and skipping it would lose them silently: it is reported, and the broker does not start.
"""

from __future__ import annotations

import logging
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from ottla.broker.log.batch import HEADER_SIZE, MAGIC, TRANSACTIONAL, BatchHeader, is_intact, read_header
from ottla.broker.log.control import CONTROL_BATCH_SIZE, marker_of
from ottla.broker.log.producers import Producers
from ottla.broker.log.segment import Segment, sync_folder
from ottla.broker.log.transactions import Transactions
from ottla.errors import CorruptLog

logger = logging.getLogger("ottla.broker")

READ_BYTES = 1 << 20
MAX_BATCH_BYTES = 1 << 30


def segment_paths(folder: Path) -> list[Path]:
    """The segment files of a partition, by offset."""
    return sorted(path for path in folder.iterdir() if path.suffix == ".log")


def recover_segments(
    folder: Path, producers: Producers, transactions: Transactions
) -> tuple[list[Segment], int | None]:
    """Opens, checks and indexes all segments of a partition, and replays their producers and transactions.

    Returns:
        The segments, and the next offset to give (None if there is no segment).

    Raises:
        CorruptLog: Damage in the middle, or a missing file; names file and position.
    """
    segments: list[Segment] = []
    next_offset: int | None = None
    paths = segment_paths(folder)
    for number, path in enumerate(paths):
        base_offset = int(path.stem)
        if next_offset is not None and base_offset != next_offset:
            if not any(_first_intact(later.read_bytes(), 0) is not None for later in paths[number:]):
                # Begun just before a crash, and the end of the file before it never reached the disk: nothing is lost.
                _remove(paths[number:])
                break
            raise CorruptLog(
                f"{path.parent}: records from offset {next_offset} to {base_offset - 1} are missing, "
                f"a segment file before {path.name} is gone. Restore it from a backup, or delete this partition's "
                f"folder to go on without its records."
            )
        segment = Segment(path, base_offset, path.stat().st_mtime)
        segments.append(segment)
        next_offset, damage = _check(segment, base_offset, producers, transactions)
        if damage:
            _cut(segment, damage, paths[number + 1 :])
            break
    return segments, next_offset


def _check(segment: Segment, expected: int, producers: Producers, transactions: Transactions) -> tuple[int, str]:
    """Walks a segment up to the last intact batch. Gives the next offset and what was wrong."""
    file_size = os.fstat(segment.fd).st_size
    for position, header, problem in _batches(segment.fd, file_size):
        if not problem and header.base_offset < expected:
            problem = f"offset {header.base_offset} where {expected} or more was expected"
        if problem:
            segment.size = position
            return expected, problem
        segment.note(header.base_offset, position, header.max_timestamp)
        segment.size = position + header.size
        if header.producer_id >= 0:
            note_batch(segment, position, header, producers, transactions)
        expected = header.last_offset + 1
    return expected, ""


def note_batch(
    segment: Segment, position: int, header: BatchHeader, producers: Producers, transactions: Transactions
) -> None:
    """Takes a stored batch of a producer into what the partition remembers of producers and transactions."""
    producers.note(header, header.base_offset)
    if not header.attributes & TRANSACTIONAL:
        return
    if not header.is_control:
        transactions.note(header, header.base_offset, None)
        return
    marker, coordinator_epoch = marker_of(segment.read(position, CONTROL_BATCH_SIZE))
    if marker is not None:
        transactions.note(header, header.base_offset, marker)
        producers.note_marker(header, coordinator_epoch)


def _batches(fd: int, file_size: int) -> Iterator[tuple[int, BatchHeader, str]]:
    """Batch by batch: position, header, and what is wrong with it (the last one then)."""
    position, data, start = 0, b"", 0
    nothing = BatchHeader(*([0] * 13))
    while position < file_size:
        if position + HEADER_SIZE > file_size:
            yield position, nothing, f"{file_size - position} bytes are too few for a batch"
            return
        if position - start + HEADER_SIZE > len(data):
            data, start = os.pread(fd, READ_BYTES, position), position
        header = read_header(data, position - start)
        if header.magic != MAGIC or not HEADER_SIZE - 12 <= header.length <= MAX_BATCH_BYTES:
            yield position, nothing, "not a batch header"
            return
        if position + header.size > file_size:
            yield position, nothing, f"the batch wants {header.size} bytes, {file_size - position} are there"
            return
        if position - start + header.size > len(data):
            data, start = os.pread(fd, max(READ_BYTES, header.size), position), position
        if not is_intact(data, position - start, header):
            yield position, nothing, "the checksum does not match"
            return
        yield position, header, ""
        position += header.size


def _cut(segment: Segment, damage: str, later: list[Path]) -> None:
    """Cuts a torn tail off, or raises CorruptLog if intact batches follow it."""
    where = f"{segment.path}, position {segment.size}"
    tail = _read_from(segment.path, segment.size)
    survivor = _first_intact(tail, 1)
    follows = f"position {segment.size + survivor}" if survivor is not None else ""
    for path in later:
        if not follows and _first_intact(path.read_bytes(), 0) is not None:
            follows = path.name
    if follows:
        raise CorruptLog(
            f"{where}: {damage}, and intact batches follow (at {follows}): acknowledged records are damaged. "
            f"Restore the file from a backup, or delete this partition's folder to go on without its records."
        )
    logger.warning("%s: %s; cutting off a torn tail of %d bytes", where, damage, len(tail))
    segment.truncate(segment.size)
    segment.sync()
    _remove(later)


def _remove(paths: list[Path]) -> None:
    for path in paths:
        logger.warning("%s: removing a segment that holds no records", path)
        path.unlink()
    if paths:
        sync_folder(paths[0].parent)


def _read_from(path: Path, position: int) -> bytes:
    with path.open("rb") as file:
        file.seek(position)
        return file.read()


def _first_intact(data: bytes, start: int) -> int | None:
    """Where an intact batch begins in `data`, looked for at every byte from `start` on; None if nowhere."""
    at = data.find(MAGIC, start + 16)
    while at != -1:
        begin = at - 16
        try:
            header = read_header(data, begin)
        except struct.error:
            return None
        if header.base_offset >= 0 and is_intact(data, begin, header):
            return begin
        at = data.find(MAGIC, at + 1)
    return None


def now_ms() -> int:
    """Wall clock, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
