"""Compaction: what stays, what goes, and that no crash leaves a mixture."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import cramjam
import pytest

from ottla.broker.cleaner import due
from ottla.broker.log import swap
from ottla.broker.log.batch import BatchHeader, read_header
from ottla.broker.log.compaction import Pace, Plan, Rewriter, Source, build_map, groups
from ottla.broker.log.compression import open_records
from ottla.broker.log.control import Marker
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.recovery import now_ms
from ottla.broker.log.rewriting import Record, delete_horizon, records_of
from ottla.broker.topic_configs import TopicConfig
from ottla.errors import CorruptLog
from tests.broker.batches import T0, batch, parts, record, varint

HUGE = 1 << 30
LATER = T0 + 10 * 86_400_000
TRANSACTIONAL = 0x10
Pair = tuple[str, str | None]


def pairs_batch(pairs: Sequence[Pair], *, codec: int = 0, timestamp: int = T0, **options: int) -> bytes:
    """A batch of (key, value) records; the value None is a tombstone."""
    body = b"".join(_record(number, key, value) for number, (key, value) in enumerate(pairs))
    packed = {
        0: bytes,
        1: lambda data: bytes(cramjam.gzip.compress(data)),
        2: lambda data: bytes(cramjam.snappy.compress_raw(data)),
        3: lambda data: bytes(cramjam.lz4.compress(data)),
        4: lambda data: bytes(cramjam.zstd.compress(data)),
    }[codec](body)
    values = [b"?"] * len(pairs)
    return batch(values, codec=codec, records=packed, timestamps=[timestamp] * len(pairs), **options)


def _record(delta: int, key: str, value: str | None) -> bytes:
    if value is not None:
        return record(delta, 0, key.encode(), value.encode())
    body = b"\0" + varint(0) + varint(delta) + varint(len(key)) + key.encode() + varint(-1) + varint(0)
    return varint(len(body)) + body


class Compacted:
    """A log with a segment for every batch, compacted on request as the cleaner does it, without threads."""

    def __init__(self, folder: Path) -> None:
        self.log = PartitionLog(folder)

    def add(self, *pairs: Pair, **options: int) -> None:
        self.append(pairs_batch(pairs, **options))

    def append(self, data: bytes) -> None:
        self.log.append(*parts(data), stamp=False, segment_bytes=1, segment_ms=1 << 60)
        self.log.expose()

    def mark(self, producer_id: int, marker: Marker) -> None:
        self.log.append_control(producer_id, 0, marker, coordinator_epoch=0, segment_bytes=1, segment_ms=1 << 60)
        self.log.expose()

    def plan(
        self, *, now: int = T0, delete_retention_ms: int = 1000, segment_bytes: int = HUGE, keys_max: int = 1000
    ) -> Plan:
        log = self.log
        return Plan(
            [Source(s.base_offset, s.path, s.size) for s in log.segments[:-1]],
            log.segments[-1].base_offset,
            max(log.cleaned, log.start_offset),
            log.producers.last_offsets(),
            list(log.transactions.aborted),
            now,
            delete_retention_ms,
            segment_bytes,
            keys_max,
        )

    def run(self, **options: int) -> None:
        """Compacts all but the last segment, and reads the log back."""
        plan = self.plan(**options)
        pace = Pace(threading.Event(), rest=0)
        keys = build_map(plan, pace)
        rewriter = Rewriter(plan, keys, pace)
        for group in groups(plan, keys.latest + 1):
            base = group[0].base_offset
            following = [source.base_offset for source in plan.sources if source.base_offset > group[-1].base_offset]
            rewriter.write(group, swap.cleaned_path(self.log.folder, base))
            swap.commit(self.log.folder, base, following[0] if following else plan.end)
        self.reopen()
        self.log.cleaned = keys.latest + 1

    def reopen(self) -> None:
        self.log.close()
        start = self.log.start_offset
        self.log = PartitionLog(self.log.folder)
        self.log.recover(start)

    def batches(self) -> list[tuple[BatchHeader, bytes]]:
        found = []
        for segment in self.log.segments:
            for position, header in segment.headers():
                found.append((header, segment.read(position, header.size)))
        return found

    def records(self) -> list[Record]:
        return [
            one
            for header, data in self.batches()
            if not header.is_control
            for one in records_of(open_records(header.codec, data[61:]), header)
        ]

    def content(self) -> list[tuple[int, str]]:
        return [(one.offset, (one.key or b"").decode()) for one in self.records()]


@pytest.fixture
def compacted(tmp_path: Path) -> Compacted:
    return Compacted(tmp_path)


def test_the_latest_record_of_every_key_stays_at_its_offset(compacted: Compacted) -> None:
    compacted.add(("a", "1"), ("b", "1"), ("c", "1"))
    compacted.add(("a", "2"))
    compacted.add(("b", "2"), ("a", "3"))
    compacted.add(("last", "segment"))
    compacted.run()
    assert compacted.content() == [(2, "c"), (4, "b"), (5, "a"), (6, "last")]
    assert compacted.log.next_offset == 7
    assert len(compacted.log.segments) == 2


def test_the_active_segment_counts_for_nothing(compacted: Compacted) -> None:
    compacted.add(("a", "1"))
    compacted.add(("b", "1"))
    compacted.add(("a", "2"))
    compacted.run()
    assert compacted.content() == [(0, "a"), (1, "b"), (2, "a")]


def test_records_keep_their_timestamps(compacted: Compacted) -> None:
    compacted.append(batch([b"1", b"2"], timestamps=[T0 + 5, T0 + 9], key=b"k"))
    compacted.append(batch([b"x"], timestamps=[T0 + 20], key=b"other"))
    compacted.run()
    assert [(one.offset, one.timestamp) for one in compacted.records()] == [(1, T0 + 9), (2, T0 + 20)]


def test_a_reader_of_a_removed_offset_gets_the_next_record(compacted: Compacted) -> None:
    for number in range(5):
        compacted.add(("a", str(number)))
    compacted.run()
    data = compacted.log.read(0, HUGE, at_least_one=True)
    assert read_header(data).last_offset >= 0
    assert [offset for offset, _ in compacted.content()] == [3, 4]


@pytest.mark.parametrize(("codec", "becomes"), [(0, 0), (1, 1), (2, 1), (3, 1)])
def test_compressed_batches_are_written_anew(compacted: Compacted, codec: int, becomes: int) -> None:
    compacted.add(("a", "1"), ("b", "1"), codec=codec)
    compacted.add(("a", "2"), codec=codec)
    compacted.add(("end", ""))
    compacted.run()
    assert compacted.content() == [(1, "b"), (2, "a"), (3, "end")]
    assert [header.codec for header, _ in compacted.batches()] == [becomes, codec, 0], "whole batches stay as they are"


def test_a_batch_that_cannot_be_opened_stays_and_so_does_what_it_may_replace(compacted: Compacted) -> None:
    compacted.add(("a", "1"))
    compacted.append(batch([b"?"], codec=4, records=b"not zstd at all"))
    compacted.add(("a", "2"))
    compacted.add(("end", ""))
    compacted.run()
    assert [header.base_offset for header, _ in compacted.batches()] == [1, 2, 3]


def test_tombstones_stay_for_their_time_and_then_go(compacted: Compacted) -> None:
    compacted.add(("a", "1"), ("b", "1"))
    compacted.add(("a", None))
    compacted.add(("end", ""))
    compacted.run(now=T0, delete_retention_ms=1000)
    assert compacted.content() == [(1, "b"), (2, "a"), (3, "end")]
    (horizon,) = [delete_horizon(header) for header, _ in compacted.batches() if delete_horizon(header) is not None]
    assert horizon == T0 + 1000
    assert [one.timestamp for one in compacted.records()] == [T0, T0, T0]
    compacted.run(now=T0 + 999, delete_retention_ms=1000)
    assert (2, "a") in compacted.content()
    compacted.run(now=T0 + 1000, delete_retention_ms=1000)
    assert compacted.content() == [(1, "b"), (3, "end")]


def test_records_without_key_go(compacted: Compacted) -> None:
    compacted.append(batch([b"x"], key=None))
    compacted.add(("a", "1"))
    compacted.add(("end", ""))
    compacted.run()
    assert compacted.content() == [(1, "a"), (2, "end")]


def test_the_last_batch_of_a_producer_stays_without_records(compacted: Compacted) -> None:
    compacted.add(("a", "1"), producer_id=7, epoch=2, sequence=0)
    compacted.add(("a", "2"), producer_id=7, epoch=2, sequence=1)
    compacted.add(("a", "3"))
    compacted.add(("b", "1"))
    compacted.add(("end", ""))
    compacted.run()
    kept = [(h.base_offset, h.producer_id, h.base_sequence, h.record_count) for h, _ in compacted.batches()]
    assert kept[0] == (1, 7, 1, 0)
    assert compacted.content() == [(2, "a"), (3, "b"), (4, "end")]
    (remembered,) = compacted.log.producers.states[7].batches
    assert (remembered.base_sequence, remembered.base_offset) == (1, 1)


def test_the_last_batch_of_a_written_segment_stays_so_that_no_gap_looks_like_a_missing_file(
    compacted: Compacted,
) -> None:
    compacted.add(("a", "1"))
    compacted.add(("b", "1"))
    compacted.add(("a", "2"))
    compacted.add(("b", "2"))
    compacted.add(("end", ""))
    compacted.run(segment_bytes=100)
    assert [(h.base_offset, h.record_count) for h, _ in compacted.batches()] == [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1)]
    compacted.run()
    assert [(h.base_offset, h.record_count) for h, _ in compacted.batches()] == [(2, 1), (3, 1), (4, 1)]


def test_aborted_records_go_at_once_and_their_marker_later(compacted: Compacted) -> None:
    compacted.add(("a", "old"))
    compacted.add(("a", "aborted"), attributes=TRANSACTIONAL, producer_id=7, epoch=0, sequence=0)
    compacted.mark(7, Marker.ABORT)
    compacted.add(("b", "x"), producer_id=7, epoch=0, sequence=1)
    compacted.add(("end", ""))
    compacted.run(now=T0)
    assert compacted.content() == [(0, "a"), (3, "b"), (4, "end")]
    markers = [header for header, _ in compacted.batches() if header.is_control]
    assert [delete_horizon(header) for header in markers] == [None], "a batch of the transaction was still met"
    compacted.run(now=T0, delete_retention_ms=1000)
    markers = [header for header, _ in compacted.batches() if header.is_control]
    assert [delete_horizon(header) for header in markers] == [T0 + 1000]
    assert compacted.log.transactions.open == {}
    compacted.run(now=T0 + 1000)
    assert not [header for header, _ in compacted.batches() if header.is_control]
    assert compacted.content() == [(0, "a"), (3, "b"), (4, "end")]


def test_committed_records_count_and_their_marker_stays_as_long_as_they_do(compacted: Compacted) -> None:
    compacted.add(("a", "old"))
    compacted.add(("a", "new"), attributes=TRANSACTIONAL, producer_id=7, epoch=0, sequence=0)
    compacted.mark(7, Marker.COMMIT)
    compacted.add(("end", ""))
    for _ in range(3):
        compacted.run(now=LATER)
        assert compacted.content() == [(1, "a"), (3, "end")]
        assert [header.base_offset for header, _ in compacted.batches() if header.is_control] == [2]


def test_the_marker_of_an_emptied_batch_keeps_the_transaction_closed(compacted: Compacted) -> None:
    """The producer's last batch stays, without records: without its marker it would look like an open transaction."""
    compacted.add(("a", "aborted"), attributes=TRANSACTIONAL, producer_id=7, epoch=0, sequence=0)
    compacted.mark(7, Marker.ABORT)
    compacted.add(("b", "1"))
    compacted.add(("end", ""))
    for _ in range(3):
        compacted.run(now=LATER)
    assert [(h.base_offset, h.record_count) for h, _ in compacted.batches()][:2] == [(0, 0), (1, 1)]
    assert compacted.log.transactions.open == {}
    assert compacted.log.last_stable_offset == 4


def test_more_keys_than_there_is_room_for_are_compacted_bit_by_bit(compacted: Compacted) -> None:
    for number in range(12):
        compacted.add((str(number % 6), str(number)))
    compacted.add(("end", ""))
    rounds = 0
    while compacted.log.cleaned < 12:
        before = compacted.log.cleaned
        compacted.run(keys_max=4)
        assert compacted.log.cleaned > before
        rounds += 1
    assert rounds > 1
    assert [key for _, key in compacted.content()] == ["0", "1", "2", "3", "4", "5", "end"]


@pytest.mark.parametrize("step", ["written", "committed", "half removed", "removed", "renamed"])
def test_a_crash_at_any_step_leaves_the_old_segments_or_the_new(compacted: Compacted, step: str) -> None:
    for number in range(6):
        compacted.add(("a", str(number)), ("b", str(number)))
    plan = compacted.plan()
    pace = Pace(threading.Event(), rest=0)
    keys = build_map(plan, pace)
    folder = compacted.log.folder
    (group,) = groups(plan, keys.latest + 1)
    Rewriter(plan, keys, pace).write(group, swap.cleaned_path(folder, 0))
    if step != "written":
        path = swap.commit(folder, 0, plan.end)
        bases = [source.base_offset for source in group]
        if step == "half removed":
            swap.remove_replaced(folder, bases[::2])
        elif step != "committed":
            swap.remove_replaced(folder, bases)
        if step == "renamed":
            swap.finish(path)
    compacted.reopen()
    old = [(number, "ab"[number % 2]) for number in range(12)]
    assert compacted.content() == (old if step == "written" else old[8:])
    assert compacted.log.next_offset == 12
    assert not [path for path in folder.iterdir() if path.suffix in (swap.CLEANED, swap.SWAP)]


def config(**settings: str) -> TopicConfig:
    return TopicConfig({name.replace("_", "."): value for name, value in settings.items()}, {})


def test_a_log_is_due_by_the_share_of_what_is_dirty(compacted: Compacted) -> None:
    for number in range(5):
        compacted.add(("a", str(number)))
    found = due(config(), compacted.log, T0)
    assert found is not None
    assert (found.ratio, found.until) == (1.0, 4)
    compacted.log.cleaned = 3
    found = due(config(), compacted.log, T0)
    assert found is not None
    assert found.ratio == pytest.approx(0.25)
    compacted.log.cleaned = 4
    assert due(config(), compacted.log, T0) is None


def test_young_records_are_left_alone(compacted: Compacted) -> None:
    compacted.add(("a", "1"), timestamp=T0)
    compacted.add(("a", "2"), timestamp=T0 + 500)
    compacted.add(("a", "3"), timestamp=T0 + 900)
    found = due(config(min_compaction_lag_ms="1000"), compacted.log, T0 + 1200)
    assert found is not None
    assert found.until == 1


def test_an_old_record_makes_a_log_overdue(compacted: Compacted) -> None:
    compacted.add(("a", "1"))
    compacted.add(("a", "2"))
    for now, overdue in [(T0 + 1000, False), (T0 + 1001, True)]:
        found = due(config(max_compaction_lag_ms="1000"), compacted.log, now)
        assert found is not None
        assert found.overdue is overdue


def test_what_is_not_decided_is_left_alone(compacted: Compacted) -> None:
    compacted.add(("a", "1"))
    compacted.add(("a", "2"), attributes=TRANSACTIONAL, producer_id=7, epoch=0, sequence=0)
    compacted.add(("a", "3"))
    found = due(config(), compacted.log, now_ms())
    assert found is not None
    assert found.until == 1


@pytest.mark.parametrize("gone", [[], [1, 2], [0]])
def test_a_damaged_new_segment_is_given_up_while_the_old_ones_are_there(compacted: Compacted, gone: list[int]) -> None:
    for number in range(4):
        compacted.add(("a", str(number)))
    plan = compacted.plan()
    pace = Pace(threading.Event(), rest=0)
    keys = build_map(plan, pace)
    folder = compacted.log.folder
    (group,) = groups(plan, keys.latest + 1)
    Rewriter(plan, keys, pace).write(group, swap.cleaned_path(folder, 0))
    path = swap.commit(folder, 0, plan.end)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    swap.remove_replaced(folder, gone)
    if gone:
        with pytest.raises(CorruptLog):
            compacted.reopen()
    else:
        compacted.reopen()
        assert compacted.content() == [(number, "a") for number in range(4)]
