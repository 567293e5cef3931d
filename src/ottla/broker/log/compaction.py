"""Compacting segments: the latest record of every key stays, at its offset. Kafka's rules (KIP-98, KIP-534).

Two passes over sealed segments. The first remembers the last offset of every key in the part that is not clean yet.
The second writes the segments anew, without records that a later one of their key replaces, records without key,
tombstones past their delete horizon, and records of aborted transactions. A transaction's marker stays until none of
its batches is left, and then until its delete horizon. The last batch of every producer stays, and the last of every
written segment, if need be without records: sequence numbers and the offsets of the log's parts are never forgotten.

Runs in a thread beside the event loop, in slices: after each it rests, so that the loop is never kept waiting for long.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ottla.broker.log.batch import HEADER_SIZE, BatchHeader, is_intact, read_header
from ottla.broker.log.compression import Unopened, open_records
from ottla.broker.log.control import Marker, marker_of
from ottla.broker.log.durable import sync_all
from ottla.broker.log.index import OffsetIndex
from ottla.broker.log.rewriting import Filtered, Record, delete_horizon, filter_batch, records_of, without_records
from ottla.broker.log.transactions import AbortedTransaction
from ottla.errors import CorruptLog

READ_BYTES = 1 << 20
WRITE_BYTES = 1 << 20
KEY_BYTES_MAX = 32  # longer keys are remembered by their digest
SLICE_S = 0.0002
REST_S = 0.0005
SLICE_RECORDS = 32


class Stopped(Exception):
    """The broker stops, or the topic is gone: the work is given up."""


class Pace:
    """Lets the event loop have the interpreter again, often. `stop` ends the work. Full speed with `rest` 0."""

    def __init__(self, stop: threading.Event, rest: float = REST_S) -> None:
        self._stop = stop
        self._rest = rest
        self._until = time.perf_counter() + SLICE_S

    def step(self) -> None:
        """Between two small pieces of work. Raises Stopped."""
        if time.perf_counter() >= self._until:
            if self._stop.is_set():
                raise Stopped
            if self._rest:
                time.sleep(self._rest)
            self._until = time.perf_counter() + SLICE_S


class Source(NamedTuple):
    """A sealed segment that is read."""

    base_offset: int
    path: Path
    size: int


class Plan(NamedTuple):
    """What is to be compacted, and by which rules.

    Args:
        sources: All segments from the start of the log to the first that may not be compacted, by offset.
        end: The base offset of that one.
        first_dirty: Compaction has been through before this offset.
        last_of_producers: Producer id -> its last record's offset (-1: none), its epoch.
        aborted: The aborted transactions of the log.
        now, delete_retention_ms: The clock, and how long tombstones stay, ms.
        segment_bytes: How large a written segment may become.
        keys_max: How many keys are remembered at once; with more, only a part is compacted this time.
    """

    sources: list[Source]
    end: int
    first_dirty: int
    last_of_producers: dict[int, tuple[int, int]]
    aborted: list[AbortedTransaction]
    now: int
    delete_retention_ms: int
    segment_bytes: int
    keys_max: int


class KeyMap:
    """The last offset of every key, from the dirty part. `latest` is how far it has come; -1 for nowhere."""

    def __init__(self) -> None:
        self.offsets: dict[bytes, int] = {}
        self.latest = -1

    def stays(self, record: Record, tombstones: bool) -> bool:
        """Whether no later record replaces this one. `tombstones`: whether one without value stays as well."""
        if record.offset > self.latest:
            return True
        if record.key is None:
            return False
        return record.offset >= self.offsets.get(_short(record.key), -1) and (record.has_value or tombstones)


def _short(key: bytes) -> bytes:
    if len(key) <= KEY_BYTES_MAX:
        return key
    import hashlib  # loads OpenSSL, several megabytes: not for brokers that never need it

    return b"\0" + hashlib.sha256(key).digest()


class _Transactions:
    """Follows the transactions through the batches of a pass."""

    def __init__(self, aborted: list[AbortedTransaction]) -> None:
        self._to_come = deque(sorted(aborted, key=lambda one: one.first_offset))
        self._aborted: dict[int, bool] = {}  # producer id -> whether one of its batches was met
        self._committed: set[int] = set()

    def is_aborted(self, header: BatchHeader) -> bool:
        """Whether a batch of records belongs to an aborted transaction."""
        self._advance(header.last_offset)
        if not header.is_transactional:
            return False
        if header.producer_id in self._aborted:
            self._aborted[header.producer_id] = True
            return True
        self._committed.add(header.producer_id)
        return False

    def is_marker_of_nothing(self, header: BatchHeader, data: bytes) -> bool:
        """Whether nothing is left of the transaction that this control batch ends."""
        self._advance(header.last_offset)
        if not header.record_count:
            return True
        marker, _ = marker_of(data)
        if marker is Marker.ABORT:
            return not self._aborted.pop(header.producer_id, False)
        if marker is Marker.COMMIT:
            met = header.producer_id in self._committed
            self._committed.discard(header.producer_id)
            return not met
        return False

    def _advance(self, offset: int) -> None:
        while self._to_come and self._to_come[0].first_offset <= offset:
            self._aborted[self._to_come.popleft().producer_id] = False


def build_map(plan: Plan, pace: Pace) -> KeyMap:
    """The last offsets of the keys in the dirty part. Raises CorruptLog, OSError, Stopped."""
    keys = KeyMap()
    transactions = _Transactions(plan.aborted)
    for source in plan.sources:
        for header, data in _batches(source):
            pace.step()
            if header.is_control:
                transactions.is_marker_of_nothing(header, data)
            elif transactions.is_aborted(header) or header.last_offset < plan.first_dirty:
                pass
            elif not _remember(keys.offsets, header, data, plan, pace):
                return keys
            keys.latest = header.last_offset
    return keys


def _remember(offsets: dict[bytes, int], header: BatchHeader, data: bytes, plan: Plan, pace: Pace) -> bool:
    """Takes the keys of a batch; False if there is no room for them."""
    if offsets and len(offsets) + header.record_count > plan.keys_max:
        return False
    try:
        opened = open_records(header.codec, data[HEADER_SIZE:])
        for number, record in enumerate(records_of(opened, header)):
            if number % SLICE_RECORDS == 0:
                pace.step()
            if record.key is not None and record.offset >= plan.first_dirty:
                offsets[_short(record.key)] = record.offset
    except Unopened:
        pass  # its keys are unknown here: its records stay, and so do older ones of these keys
    return True


def groups(plan: Plan, end: int) -> Iterator[list[Source]]:
    """Neighbouring segments that fit into one. Of the segments that begin before `end`."""
    gathered: list[Source] = []
    size = 0
    for source in plan.sources:
        if source.base_offset >= end:
            break
        if gathered and size + source.size > plan.segment_bytes:
            yield gathered
            gathered, size = [], 0
        gathered.append(source)
        size += source.size
    if gathered:
        yield gathered


class Written:
    """A segment written by compaction."""

    def __init__(self) -> None:
        self.index = OffsetIndex()
        self.size = 0
        self.first_timestamp = -1

    def took(self, header: BatchHeader) -> None:
        self.index.note(header.base_offset, self.size, header.size, header.max_timestamp)
        self.size += header.size
        if self.first_timestamp < 0:
            self.first_timestamp = header.max_timestamp


class Rewriter:
    """The second pass: goes through all groups, in order.

    Args:
        plan: What and how.
        keys: From the first pass.
        pace: When to rest.
    """

    def __init__(self, plan: Plan, keys: KeyMap, pace: Pace) -> None:
        self._plan = plan
        self._keys = keys
        self._pace = pace
        self._transactions = _Transactions(plan.aborted)
        self.unopened = 0  # batches that had to stay as they are

    def write(self, group: list[Source], path: Path) -> Written:
        """Writes what stays of a group to a new, durable file. Raises CorruptLog, OSError, Stopped."""
        written = Written()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            buffer = bytearray()
            for header, data in self._kept(group):
                written.took(header)
                buffer += data
                if len(buffer) >= WRITE_BYTES:
                    _write_all(fd, buffer)
                    buffer = bytearray()
            _write_all(fd, buffer)
            sync_all(fd)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        return written

    def _kept(self, group: list[Source]) -> Iterator[tuple[BatchHeader, bytes]]:
        last: tuple[BatchHeader, bytes] | None = None
        for source in group:
            for header, data in _batches(source):
                self._pace.step()
                if last is not None:
                    yield from self._decide(*last, is_last=False)
                last = header, data
        if last is not None:
            yield from self._decide(*last, is_last=True)

    def _decide(self, header: BatchHeader, data: bytes, *, is_last: bool) -> Iterator[tuple[BatchHeader, bytes]]:
        keep_empty = is_last or self._is_last_of_producer(header)
        try:
            filtered = self._filtered(header, data, keep_empty)
        except Unopened:
            self.unopened += 1
            filtered = Filtered(header, data)
        if filtered.data is not None:
            yield filtered.header, filtered.data

    def _filtered(self, header: BatchHeader, data: bytes, keep_empty: bool) -> Filtered:
        plan, dated = self._plan, delete_horizon(header)
        expired = dated is not None and dated <= plan.now
        of_nothing = False
        if header.is_control:
            of_nothing = self._transactions.is_marker_of_nothing(header, data)
            discard = of_nothing and (expired or not header.record_count)
        else:
            discard = self._transactions.is_aborted(header)
        if discard or not header.record_count:
            return without_records(header, data) if keep_empty else Filtered(header, None)

        count = 0

        def stays(record: Record) -> bool:
            nonlocal count
            count += 1
            if count % SLICE_RECORDS == 0:
                self._pace.step()
            return header.is_control or self._keys.stays(record, not expired)

        horizon = plan.now + plan.delete_retention_ms
        return filter_batch(header, data, stays, keep_empty=keep_empty, horizon=horizon, empty_transaction=of_nothing)

    def _is_last_of_producer(self, header: BatchHeader) -> bool:
        if header.producer_id < 0:
            return False
        last = self._plan.last_of_producers.get(header.producer_id)
        if last is None:
            return False
        offset, epoch = last
        return header.last_offset == offset if offset >= 0 else header.is_control and header.producer_epoch == epoch


def _write_all(fd: int, data: bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _batches(source: Source) -> Iterator[tuple[BatchHeader, bytes]]:
    """The batches of a segment, each checked. Raises CorruptLog, OSError."""
    fd = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        position, data, start = 0, b"", 0
        while position < source.size:
            at = position - start
            if at + HEADER_SIZE > len(data):
                data, start, at = os.pread(fd, READ_BYTES, position), position, 0
            if len(data) - at < HEADER_SIZE:
                raise _damage(source, position)
            header = read_header(data, at)
            if header.size > source.size - position:
                raise _damage(source, position)
            if at + header.size > len(data):
                data, start, at = os.pread(fd, max(READ_BYTES, header.size), position), position, 0
            if not is_intact(data, at, header):
                raise _damage(source, position)
            yield header, data[at : at + header.size]
            position += header.size
    finally:
        os.close(fd)


def _damage(source: Source, position: int) -> CorruptLog:
    return CorruptLog(
        f"{source.path}, position {position}: the batch does not match its checksum: stored records are damaged, and "
        f"the partition is not compacted. Restore the file from a backup."
    )
