"""One partition's log: append, read, look up, truncate from the front."""

from __future__ import annotations

import logging
import shutil
import time
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ottla.broker.log.batch import (
    LOG_APPEND_TIME,
    TRANSACTIONAL,
    BatchHeader,
    crc_of,
    stamped_prefix,
)
from ottla.broker.log.checkpoint import Checkpoint, SegmentState
from ottla.broker.log.control import Marker, control_batch
from ottla.broker.log.durable import sync_folder
from ottla.broker.log.producers import AppendedBatch, Producers, Refused
from ottla.broker.log.recovery import now_ms, recover_segments
from ottla.broker.log.segment import Segment
from ottla.broker.log.transactions import Transactions
from ottla.broker.wire.errors import ErrorCode
from ottla.errors import CorruptLog

logger = logging.getLogger("ottla.broker")

LEADER_EPOCH = 0


class End(NamedTuple):
    """Where a log ends: the next offset, and its place in the files."""

    offset: int
    segment: Segment | None
    size: int


class Appended(NamedTuple):
    base_offset: int
    log_append_time: int  # ms, -1 with create time


class PartitionLog:
    """The log of one partition. Used from the event loop's thread only, but for `mark` and `sync`.

    `next_offset` is the end of what was written, `high_watermark` the end of what is durable (as the flush policy
    says) and so visible to consumers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments: list[Segment] = []
        self.start_offset = 0
        self.next_offset = 0
        self.producers = Producers()
        self.transactions = Transactions()
        self.waiters: set[Callable[[int], None]] = set()
        self.deleted = False
        self.cleaned = 0  # compaction has been through up to here
        self.cleaning = False  # segments are in the hands of the cleaner: nobody else may remove them
        self.checkpointed = 0  # the next offset when the last checkpoint was made
        self.checkpoint_wanted = False  # one is due though the log has not grown
        self.generation = 0  # how often segments were replaced
        self.damage = ""  # what was found to be damaged, in words
        self._bases: list[int] = []
        self._end = End(0, None, 0)
        self._stable = self._end
        self._durable = 0  # up to here records are on the disk, whatever the flush policy
        self._dirty: set[Segment] = set()
        self._folder_dirty = False
        self._sync_failure: OSError | None = None

    @property
    def high_watermark(self) -> int:
        return self._stable.offset

    @property
    def last_stable_offset(self) -> int:
        """The end of what `read_committed` consumers see: before the first transaction that is not decided yet."""
        return max(self.transactions.last_stable(self._stable.offset), self.start_offset)

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self.segments)

    # Recovery

    def recover(self, start_offset: int) -> None:
        """Reads the files back. `start_offset` is where the catalogue says the log begins.

        Raises:
            CorruptLog: See `recovery`.
        """
        found = recover_segments(self.folder, start_offset)
        self.checkpoint_wanted = bool(found.segments) and found.checkpointed < 0
        self.segments, self.producers, self.transactions = found.segments, found.producers, found.transactions
        self.cleaned, self.checkpointed = found.cleaned, max(found.checkpointed, 0)
        next_offset = found.next_offset
        self._bases = [segment.base_offset for segment in self.segments]
        first = self._bases[0] if self._bases else 0
        self.start_offset = max(start_offset, first)
        # With all segments gone by retention, the last of them still names the next offset.
        self.next_offset = max(next_offset or 0, self.start_offset)
        for segment in self.delete_until(self.start_offset):
            segment.delete()
            segment.close()
        self._stable = self._end = self._end_now()
        self._durable = self.next_offset

    # Writing

    def append(
        self,
        header: BatchHeader,
        body: bytes | memoryview,
        *,
        stamp: bool,
        segment_bytes: int,
        segment_ms: int,
        check: Callable[[], None] | None = None,
    ) -> Appended:
        """Appends one checked batch, giving it its offset.

        Args:
            header: The batch's header, as the producer sent it.
            body: The batch from the attributes on (what the CRC covers).
            stamp: Whether the broker's clock replaces the timestamps (message.timestamp.type=LogAppendTime).
            segment_bytes: Above this a new segment begins.
            segment_ms: So does one for an older segment.
            check: What remains to be checked, while the disk is at work; see `Segment.append`. Not with `stamp`.

        Raises:
            OSError: Nothing was appended, as when `check` raises.
        """
        log_append_time = -1
        if stamp:
            log_append_time = now_ms()
            header, body = _stamp(header, body, log_append_time)
        segment = self._active(header, segment_bytes, segment_ms)
        base_offset = self.next_offset
        prefix = stamped_prefix(header, base_offset, LEADER_EPOCH, header.crc)
        segment.append([prefix, body], header, base_offset, check)
        self.next_offset = base_offset + header.last_offset_delta + 1
        if header.producer_id >= 0:
            self.producers.note(header, base_offset)
            if header.attributes & TRANSACTIONAL:
                self.transactions.note(header, base_offset, None)
        self._dirty.add(segment)
        self._end = End(self.next_offset, segment, segment.size)
        return Appended(base_offset, log_append_time)

    def append_control(
        self,
        producer_id: int,
        producer_epoch: int,
        marker: Marker,
        *,
        coordinator_epoch: int,
        segment_bytes: int,
        segment_ms: int,
    ) -> int:
        """Appends the marker that ends a producer's transaction in this partition; gives its offset.

        Args:
            producer_id: Whose transaction it is.
            producer_epoch: The producer's epoch from now on; older batches of it are refused afterwards.
            marker: COMMIT or ABORT.
            coordinator_epoch: Of the coordinator, for who looks into the log.
            segment_bytes, segment_ms: As in `append`.

        Raises:
            OSError: Nothing was appended.
        """
        header, body = control_batch(producer_id, producer_epoch, marker, coordinator_epoch, now_ms())
        appended = self.append(header, body, stamp=False, segment_bytes=segment_bytes, segment_ms=segment_ms)
        self.transactions.note(header, appended.base_offset, marker)
        self.producers.note_marker(header, coordinator_epoch)
        return appended.base_offset

    def duplicate_of(self, header: BatchHeader) -> AppendedBatch | None:
        """The batch as first appended, if this is a retry of it. Raises Refused; see Producers.check."""
        if header.producer_id < 0:
            return None
        if header.producer_id in self.transactions.open and not header.attributes & TRANSACTIONAL:
            message = f"producer {header.producer_id} has a transaction open here, and the batch is not part of it"
            raise Refused(ErrorCode.INVALID_TXN_STATE, message)
        return self.producers.check(header)

    def _active(self, header: BatchHeader, segment_bytes: int, segment_ms: int) -> Segment:
        if self.segments:
            active = self.segments[-1]
            if active.size == 0:
                return active
            # As in Kafka, time is what the records say: a segment ends with the first that is so much younger.
            began = active.first_timestamp
            age = header.max_timestamp - began if began >= 0 else now_ms() - active.created_at * 1000
            if active.size + header.size <= segment_bytes and age <= segment_ms:
                return active
        return self._roll()

    def _roll(self) -> Segment:
        if not self.segments:
            self.folder.mkdir(parents=True, exist_ok=True)
        elif self._durable < self.next_offset:
            # What is written to the next file must not outlast what is still on its way to this one: after a power cut
            # that would look like a lost file.
            self._sync_before_roll()
        if self.segments:
            self.segments[-1].release()
        path = self.folder / Segment.file_name(self.next_offset)
        segment = Segment.create(path, self.next_offset, time.time())
        self._folder_dirty = True
        self.segments.append(segment)
        self._bases.append(segment.base_offset)
        return segment

    def _sync_before_roll(self) -> None:
        try:
            self.segments[-1].sync()
        except OSError as error:
            self._sync_failure = error  # fatal: the next sync of the log tells the flusher, and the broker stops
            raise

    # Durability (Syncable)

    @property
    def has_unsynced(self) -> bool:
        """Whether something was written that no sync has begun to make durable."""
        return bool(self._dirty) or self._folder_dirty

    def mark(self) -> object:
        return self._end

    def sync(self) -> None:
        if self._sync_failure is not None:
            raise self._sync_failure
        while self._dirty:
            segment = self._dirty.pop()
            if not self.deleted:
                segment.sync()
        if self._folder_dirty and not self.deleted:
            self._folder_dirty = False
            sync_folder(self.folder)
            sync_folder(self.folder.parent)
            sync_folder(self.folder.parent.parent)

    def synced(self, mark: object) -> None:
        """Moves the high watermark to `mark` and wakes who waits for records."""
        assert isinstance(mark, End)
        self._durable = max(self._durable, mark.offset)
        self._show(mark)

    def _show(self, mark: End) -> None:
        before = self._stable
        if mark.offset <= before.offset:
            return
        self._stable = mark
        if self.waiters:
            grown = mark.size - before.size if mark.segment is before.segment else mark.size
            for waiter in list(self.waiters):
                waiter(grown)

    def expose(self) -> None:
        """Makes everything written visible without waiting for the disk (flush policies other than `ack`)."""
        self._show(self._end)

    # Reading

    def read(self, offset: int, max_bytes: int, *, at_least_one: bool, until: int | None = None) -> bytes:
        """Whole batches from the one that contains `offset`, about `max_bytes` of them, up to the high watermark.

        With `at_least_one` the first batch comes whole even if it is larger; with `until` no batch comes that reaches
        beyond that offset. Empty if there is nothing.

        Raises:
            CorruptLog: The batch is damaged. Batches that were not checked since the start are checked here.
        """
        if offset >= self._stable.offset or not self.segments:
            return b""
        at = max(bisect_right(self._bases, offset) - 1, 0)
        try:
            while at < len(self.segments):
                segment = self.segments[at]
                stop = self._readable_size(segment, until)
                found = segment.find(offset)
                if found is not None and found[0] < stop:
                    return self._read_segment(segment, found, stop, max_bytes, at_least_one)
                if segment is self._stable.segment:
                    break
                at += 1
        except CorruptLog as damage:
            self.note_damage(str(damage))
            raise
        return b""

    def _readable_size(self, segment: Segment, until: int | None) -> int:
        """How far a segment may be read: what is durable of it, and before the offset `until`."""
        size = self._stable.size if segment is self._stable.segment else segment.size
        if until is not None and until < self._stable.offset:
            bound = segment.find(until)
            if bound is not None:
                return min(size, bound[0])
        return size

    def _read_segment(
        self, segment: Segment, found: tuple[int, BatchHeader], stop: int, max_bytes: int, at_least_one: bool
    ) -> bytes:
        start, header = found
        end = stop
        if stop - start > max_bytes:
            end = segment.whole_batches_until(start, start + max_bytes)
            if end < start + header.size and (at_least_one or header.size <= max_bytes):
                end = start + header.size
        if start < segment.unverified:
            return segment.read_intact(start, min(end, stop) - start, self.end_of(segment))
        return segment.read(start, min(end, stop) - start)

    def end_of(self, segment: Segment) -> int:
        """The first offset behind a segment."""
        at = bisect_right(self._bases, segment.base_offset)
        return self._bases[at] if at < len(self._bases) else self.next_offset

    def note_damage(self, what: str) -> None:
        """Says, once, that stored records are damaged."""
        if not self.damage:
            self.damage = what
            logger.critical("%s", what)

    def bytes_from(self, offset: int, until: int | None = None) -> int:
        """How many bytes `read` could give in all, from the batch that contains `offset` on."""
        if offset >= self._stable.offset or not self.segments:
            return 0
        total = 0
        for segment in self.segments[max(bisect_right(self._bases, offset) - 1, 0) :]:
            try:
                found = None if total else segment.find(offset)
                size = self._readable_size(segment, until)
            except CorruptLog:
                return 1 << 40  # nobody shall wait: reading tells what is wrong
            begin = found[0] if found else 0
            total += max(size - begin, 0)
            if segment is self._stable.segment or size < segment.size:
                break
        return total

    # Truncation and retention

    def delete_until(self, offset: int) -> list[Segment]:
        """Moves the start of the log forward; gives the segments nobody needs now, for the caller to remove."""
        self.start_offset = max(self.start_offset, offset)
        self.transactions.trim(self.start_offset)
        gone: list[Segment] = []
        while len(self.segments) > 1 and self._bases[1] <= self.start_offset and not self.cleaning:
            segment = self.segments.pop(0)
            self._bases.pop(0)
            self._dirty.discard(segment)
            gone.append(segment)
        return gone

    def roll_for_retention(self) -> None:
        """Ends the active segment, so that retention may remove it; the new empty one keeps the next offset."""
        if self.segments and self.segments[-1].size:
            segment = self._roll()
            self._end = End(self.next_offset, segment, 0)

    # Checkpoints and compaction

    def checkpoint(self) -> Checkpoint:
        """The state of everything written so far; worth storing once that is durable."""
        self.checkpointed, self.checkpoint_wanted = self.next_offset, False
        states = [
            SegmentState(s.base_offset, s.size, s.max_timestamp, s.first_timestamp, int(s.created_at * 1000))
            for s in self.segments
        ]
        return Checkpoint(
            self.next_offset, self.cleaned, states, self.producers.snapshot(), self.transactions.snapshot()
        )

    def replace(self, old: list[Segment], new: Segment) -> None:
        """Puts a compacted segment in the place of those it was made from, which follow each other."""
        at = self.segments.index(old[0])
        self.segments[at : at + len(old)] = [new]
        self._bases[at : at + len(old)] = [new.base_offset]
        if self._stable.segment in old:
            self._stable = self._stable._replace(segment=new, size=new.size)
        if self._end.segment in old:
            self._end = self._end._replace(segment=new, size=new.size)
        self._folder_dirty = True
        self.generation += 1
        self.checkpoint_wanted = True

    def close(self) -> None:
        for segment in self.segments:
            segment.close()

    def destroy(self) -> None:
        """Closes and removes all files of the partition."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_now(self) -> End:
        active = self.segments[-1] if self.segments else None
        return End(self.next_offset, active, active.size if active else 0)


def _stamp(header: BatchHeader, body: bytes | memoryview, timestamp: int) -> tuple[BatchHeader, bytes]:
    """Writes the broker's time into a batch: attribute bit, largest timestamp, and with them the CRC."""
    changed = bytearray(body)
    attributes = header.attributes | LOG_APPEND_TIME
    changed[0:2] = attributes.to_bytes(2, "big", signed=True)
    changed[14:22] = timestamp.to_bytes(8, "big", signed=True)
    fresh = bytes(changed)
    return header._replace(attributes=attributes, max_timestamp=timestamp, crc=crc_of(fresh)), fresh
