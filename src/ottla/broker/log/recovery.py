"""Reading a partition's files back after a stop, clean or not.

What a checkpoint stands for is taken from it; what lies behind is checked batch by batch, by length and CRC. Damage
with no intact batch after it is a torn tail: the write was cut short by a crash before it was acknowledged, so it is
cut off. Damage with intact batches after it is corruption of acknowledged records, and skipping it would lose them
silently: it is reported, and the broker does not start. So is a log that ends before its checkpoint. Records before
the checkpoint are checked by the scrubber, or when they are first read.
"""

from __future__ import annotations

import logging
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ottla.broker.log import checkpoint, swap
from ottla.broker.log.batch import HEADER_SIZE, MAGIC, TRANSACTIONAL, BatchHeader, is_intact, read_header
from ottla.broker.log.checkpoint import Checkpoint, SegmentState
from ottla.broker.log.control import CONTROL_BATCH_SIZE, marker_of
from ottla.broker.log.durable import sync_folder
from ottla.broker.log.lost_writes import has_gap
from ottla.broker.log.producers import Producers
from ottla.broker.log.segment import SUFFIX, Segment
from ottla.broker.log.transactions import Transactions
from ottla.errors import CorruptLog

logger = logging.getLogger("ottla.broker")

READ_BYTES = 1 << 20
MAX_BATCH_BYTES = 1 << 30
BLOCK_BYTES = 512  # what st_blocks counts in, whatever the file system does
UNUSED_BYTES_MAX = 1 << 20
RESTORE = "Restore it from a backup, or delete this partition's folder to go on without its records."


class Recovered(NamedTuple):
    """What was found in a partition's folder.

    Args:
        segments: The segments.
        next_offset: The next offset to give; None if there is nothing.
        producers, transactions: Their state at that offset.
        cleaned: Compaction has been through up to here.
        checkpointed: The offset that the checkpoint in the folder stands for; -1 if there is none.
    """

    segments: list[Segment]
    next_offset: int | None
    producers: Producers
    transactions: Transactions
    cleaned: int
    checkpointed: int


def recover_segments(folder: Path, start_offset: int) -> Recovered:
    """Reads the files of a partition back.

    Args:
        folder: The partition's; it may be missing.
        start_offset: Where the catalogue says the log begins; older segments may be gone.

    Raises:
        CorruptLog: Damage in the middle, or missing records; names file and position.
    """
    try:
        sizes, leftovers = _list(folder)
    except FileNotFoundError:
        return Recovered([], None, Producers(), Transactions(), 0, -1)
    if leftovers and swap.clear_up(folder):
        sizes, _ = _list(folder)
    saved = checkpoint.read_checkpoint(folder)
    if saved is not None:
        recovered = _behind(folder, saved, sizes, start_offset)
        if recovered is not None:
            return recovered
    recovered = _all(folder, sorted(sizes), start_offset)
    if saved is not None and max(recovered.next_offset or 0, start_offset) < saved.offset:
        raise CorruptLog(
            f"{folder}: the records end at offset {recovered.next_offset or 0}, but those before {saved.offset} were "
            f"on the disk: a file is gone or has become shorter. {RESTORE}"
        )
    return recovered


def _list(folder: Path) -> tuple[dict[int, int], bool]:
    """The sizes of the segment files by base offset, and whether there is something else to look at."""
    sizes: dict[int, int] = {}
    leftovers = False
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX) and entry.name[: -len(SUFFIX)].isdecimal():
                found = entry.stat()
                sizes[int(entry.name[: -len(SUFFIX)])] = found.st_size
                if found.st_blocks * BLOCK_BYTES > found.st_size + UNUSED_BYTES_MAX:
                    os.truncate(entry.path, found.st_size)  # space reserved before a crash, for what never came
            elif entry.name.endswith(swap.LEFTOVERS):
                leftovers = True
    return sizes, leftovers


def _behind(folder: Path, saved: Checkpoint, sizes: dict[int, int], start_offset: int) -> Recovered | None:
    """What follows a checkpoint; None if the files are not those it speaks of."""
    kept = [state for state in saved.segments if state.base_offset in sizes]
    # Retention may have taken all of them, and left the empty one that was begun where the checkpoint ends.
    all_gone = bool(saved.segments) and not kept and min(sizes, default=-1) == saved.offset <= start_offset
    if not all_gone and (not kept or not _match(kept, saved, sizes, start_offset)):
        return None
    producers, transactions = Producers(), Transactions()
    try:
        producers.restore(saved.producers)
        transactions.restore(saved.transactions)
    except (ValueError, TypeError, KeyError):
        return None  # the state has another form: an older version wrote it
    segments = [_segment(folder, state) for state in kept]
    walk = _Walk(folder, segments, producers, transactions)
    walk.next_offset, walk.exact = saved.offset, True
    later = [base for base in sorted(sizes) if not kept or base > kept[-1].base_offset]
    if all_gone or sizes[kept[-1].base_offset] == kept[-1].size or walk.check(segments[-1], later):
        walk.follow(later)
    return Recovered(segments, walk.next_offset, producers, transactions, saved.cleaned, saved.offset)


def _match(kept: list[SegmentState], saved: Checkpoint, sizes: dict[int, int], start_offset: int) -> bool:
    """Whether only segments that retention may have taken are missing, and the others have the size they had."""
    gone = len(saved.segments) - len(kept)
    if saved.segments[gone:] != kept or any(base < kept[0].base_offset for base in sizes):
        return False
    if kept[0].base_offset > start_offset:
        return False
    if any(sizes[state.base_offset] != state.size for state in kept[:-1]):
        return False
    between = [base for base in sizes if kept[0].base_offset <= base <= kept[-1].base_offset]
    return len(between) == len(kept) and sizes[kept[-1].base_offset] >= kept[-1].size


def _segment(folder: Path, state: SegmentState) -> Segment:
    segment = Segment(folder / Segment.file_name(state.base_offset), state.base_offset, state.created_at / 1000)
    segment.size = segment.unverified = state.size
    segment.max_timestamp, segment.first_timestamp = state.max_timestamp, state.first_timestamp
    return segment


def _all(folder: Path, bases: list[int], start_offset: int) -> Recovered:
    walk = _Walk(folder, [], Producers(), Transactions())
    if bases and bases[0] > start_offset:
        raise CorruptLog(f"{folder}: records from offset {start_offset} to {bases[0] - 1} are missing. {RESTORE}")
    walk.follow(bases)
    next_offset = walk.next_offset if walk.segments else None
    return Recovered(walk.segments, next_offset, walk.producers, walk.transactions, 0, -1)


class _Walk:
    """Checks segments one after the other, and replays their producers and transactions."""

    def __init__(self, folder: Path, segments: list[Segment], producers: Producers, transactions: Transactions) -> None:
        self.folder = folder
        self.segments = segments
        self.producers = producers
        self.transactions = transactions
        self.next_offset = -1
        # Whether offsets follow each other without gaps: in all segments that cannot have been compacted.
        self.exact = False

    def follow(self, bases: list[int]) -> None:
        """Takes in the segments with these base offsets, up to a torn tail. Raises CorruptLog."""
        for number, base in enumerate(bases):
            path = self.folder / Segment.file_name(base)
            if self.segments and base != self.next_offset:
                if base > self.next_offset and not any(_holds_records(self.folder, later) for later in bases[number:]):
                    # Begun just before a crash, and the end of the file before it never reached the disk: nothing is
                    # lost.
                    _remove(self.folder, bases[number:])
                    return
                raise CorruptLog(
                    f"{self.folder}: records from offset {self.next_offset} to {base - 1} are missing, "
                    f"a segment file before {path.name} is gone. {RESTORE}"
                )
            segment = Segment(path, base, path.stat().st_mtime)
            self.segments.append(segment)
            self.next_offset = base
            if not self.check(segment, bases[number + 1 :]):
                return

    def check(self, segment: Segment, later: list[int]) -> bool:
        """Checks a segment from its `size` on and cuts a torn tail off; whether it was whole. Raises CorruptLog."""
        known = segment.size
        damage = self._check(segment, exact=self.exact or not later)
        if damage:
            _cut(segment, damage, self.next_offset, self.folder, later)
        elif segment.size > known:
            # A killed process may have left file and name to the page cache, and consumers are about to see them.
            segment.sync()
            for folder in (self.folder, self.folder.parent, self.folder.parent.parent):
                sync_folder(folder)
        return not damage

    def _check(self, segment: Segment, *, exact: bool) -> str:
        fd = segment.descriptor()
        for position, header, problem in _batches(fd, segment.size, os.fstat(fd).st_size):
            if not problem and (
                header.base_offset < self.next_offset or (exact and header.base_offset > self.next_offset)
            ):
                problem = f"offset {header.base_offset} where {self.next_offset} was expected"
            if problem:
                return problem
            segment.took(header.base_offset, position, header.size, header.max_timestamp)
            if header.producer_id >= 0:
                note_batch(segment, position, header, self.producers, self.transactions)
            self.next_offset = header.last_offset + 1
        return ""


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
    if not header.record_count:
        return  # compaction took the marker's record, since nothing of its transaction was left
    marker, coordinator_epoch = marker_of(segment.read(position, CONTROL_BATCH_SIZE))
    if marker is not None:
        transactions.note(header, header.base_offset, marker)
        producers.note_marker(header, coordinator_epoch)


def _batches(fd: int, position: int, file_size: int) -> Iterator[tuple[int, BatchHeader, str]]:
    """Batch by batch: position, header, and what is wrong with it (the last one then)."""
    data, start = b"", 0
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


def _cut(segment: Segment, damage: str, next_offset: int, folder: Path, later: list[int]) -> None:
    """Cuts a torn tail off, or raises CorruptLog if intact batches follow it."""
    where = f"{segment.path}, position {segment.size}"
    tail = _read_from(segment.path, segment.size)
    survivor = _first_intact(tail, 1)
    follows = ""
    # A batch begins with its offset. In a sector that was lost it may be the upper bytes of it only.
    if survivor is not None and not has_gap(tail[:survivor], segment.size, next_offset.to_bytes(8, "big")):
        follows = f"position {segment.size + survivor}"
    for base in later:
        if not follows and _holds_records(folder, base):
            follows = Segment.file_name(base)
    if follows:
        raise CorruptLog(
            f"{where}: {damage}, and intact batches follow (at {follows}): acknowledged records are damaged. "
            f"Restore the file from a backup, or delete this partition's folder to go on without its records."
        )
    logger.warning("%s: %s; cutting off a torn tail of %d bytes", where, damage, len(tail))
    segment.truncate(segment.size)
    segment.sync()
    _remove(folder, later)


def _remove(folder: Path, bases: list[int]) -> None:
    for base in bases:
        path = folder / Segment.file_name(base)
        logger.warning("%s: removing a segment that holds no records", path)
        Segment(path, base, 0.0).delete()
    if bases:
        sync_folder(folder)


def _holds_records(folder: Path, base: int) -> bool:
    return _first_intact((folder / Segment.file_name(base)).read_bytes(), 0) is not None


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
