"""A partition's log: appending, reading whole batches, rolling, deleting from the front."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.recovery import now_ms
from ottla.broker.log.segment import Segment
from tests.broker.batches import T0, batch, headers, parts

HUGE = 1 << 30


@pytest.fixture
def log(tmp_path: Path) -> PartitionLog:
    return PartitionLog(tmp_path / "topic" / "0")


def append(log: PartitionLog, data: bytes, *, stamp: bool = False, segment_bytes: int = HUGE) -> int:
    appended = log.append(*parts(data), stamp=stamp, segment_bytes=segment_bytes, segment_ms=HUGE)
    log.expose()
    return appended.base_offset


def test_a_batch_gets_the_next_offsets(log: PartitionLog) -> None:
    assert append(log, batch([b"a", b"b", b"c"])) == 0
    assert append(log, batch([b"d"])) == 3
    assert log.next_offset == 4


def test_offset_and_epoch_are_patched_and_the_rest_is_as_it_came(log: PartitionLog) -> None:
    append(log, batch([b"a", b"b"]))
    second = batch([b"c"], base_offset=99)
    append(log, second)
    data = log.read(2, HUGE, at_least_one=True)
    (header,) = headers(data)
    assert (header.base_offset, header.leader_epoch) == (2, 0)
    assert data[16:] == second[16:]


def test_a_read_begins_with_the_batch_that_contains_the_offset(log: PartitionLog) -> None:
    append(log, batch([b"a", b"b", b"c"]))
    append(log, batch([b"d", b"e"]))
    assert [h.base_offset for h in headers(log.read(1, HUGE, at_least_one=True))] == [0, 3]
    assert [h.base_offset for h in headers(log.read(4, HUGE, at_least_one=True))] == [3]


def test_a_read_at_the_end_is_empty(log: PartitionLog) -> None:
    assert log.read(0, HUGE, at_least_one=True) == b""
    append(log, batch([b"a"]))
    assert log.read(1, HUGE, at_least_one=True) == b""


def test_the_first_batch_comes_whole_even_if_it_is_larger_than_asked(log: PartitionLog) -> None:
    data = batch([b"x" * 1000])
    append(log, data)
    assert len(log.read(0, 10, at_least_one=True)) == len(data)
    assert log.read(0, 10, at_least_one=False) == b""


def test_a_limited_read_ends_between_batches(log: PartitionLog) -> None:
    for _ in range(200):
        append(log, batch([b"x" * 100]))
    data = log.read(0, 10_000, at_least_one=True)
    assert 5_000 < len(data) <= 10_000
    assert sum(header.size for header in headers(data)) == len(data)


def test_what_is_not_durable_yet_is_not_visible(log: PartitionLog) -> None:
    append(log, batch([b"a"]))
    log.append(*parts(batch([b"b"])), stamp=False, segment_bytes=HUGE, segment_ms=HUGE)
    assert log.high_watermark == 1
    assert [h.base_offset for h in headers(log.read(0, HUGE, at_least_one=True))] == [0]
    mark = log.mark()
    log.append(*parts(batch([b"c"])), stamp=False, segment_bytes=HUGE, segment_ms=HUGE)
    log.sync()
    log.synced(mark)
    assert log.high_watermark == 2


def test_waiters_hear_of_growth(log: PartitionLog) -> None:
    grown: list[int] = []
    log.waiters.add(grown.append)
    data = batch([b"a"])
    append(log, data)
    assert grown == [len(data)]


def test_a_full_segment_is_followed_by_a_new_one_named_after_its_first_offset(log: PartitionLog) -> None:
    data = batch([b"x" * 100, b"y"])
    for _ in range(5):
        append(log, data, segment_bytes=2 * len(data))
    assert [segment.base_offset for segment in log.segments] == [0, 4, 8]
    assert log.segments[1].path.name == "00000000000000000004.log"
    for offset in range(10):
        first = headers(log.read(offset, HUGE, at_least_one=True))[0]
        assert first.base_offset <= offset <= first.last_offset


def test_segments_before_the_start_are_given_up(log: PartitionLog) -> None:
    data = batch([b"x" * 100])
    for _ in range(6):
        append(log, data, segment_bytes=2 * len(data))
    gone = log.delete_until(3)
    assert [segment.base_offset for segment in gone] == [0]
    assert log.start_offset == 3
    assert [segment.base_offset for segment in log.segments] == [2, 4]


def test_log_append_time_replaces_the_timestamps_and_keeps_the_checksum_right(log: PartitionLog) -> None:
    before = now_ms()
    append(log, batch([b"a"], timestamps=[5]), stamp=True)
    (header,) = headers(log.read(0, HUGE, at_least_one=True))
    assert before <= header.max_timestamp <= now_ms()
    assert header.attributes & 0x08
    log.close()
    again = PartitionLog(log.folder)
    again.recover(0)
    assert again.next_offset == 1


def test_a_failed_write_leaves_nothing_behind(log: PartitionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    append(log, batch([b"a"]))
    size = log.size

    def half(fd: int, chunks: list[bytes], position: int) -> int:
        import os

        os.pwrite(fd, chunks[0][:10], position)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ottla.broker.log.segment.os.pwritev", half)
    with pytest.raises(OSError, match="No space"):
        append(log, batch([b"b"]))
    monkeypatch.undo()
    assert (log.next_offset, log.size) == (1, size)
    assert log.segments[0].path.stat().st_size == size
    assert append(log, batch([b"c"])) == 1


def test_a_segment_begins_with_a_record_that_is_much_younger_than_the_first_of_the_last(tmp_path: Path) -> None:
    log = PartitionLog(tmp_path)
    for timestamp in (T0, T0 + 900, T0 + 1000, T0 + 1001, T0 + 500):
        data = batch([b"x"], timestamps=[timestamp])
        log.append(*parts(data), stamp=False, segment_bytes=1 << 30, segment_ms=1000)
    assert [segment.base_offset for segment in log.segments] == [0, 3]


def test_a_segment_is_durable_before_the_next_one_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PartitionLog(tmp_path)
    synced: list[int] = []
    monkeypatch.setattr(Segment, "sync", lambda segment: synced.append(segment.base_offset))
    for _ in range(2):
        log.append(*parts(batch([b"x"])), stamp=False, segment_bytes=1, segment_ms=1 << 40)
    assert synced == [0]
    log.expose()  # with other flush policies, too: else a power cut could leave a log with a hole, and no start
    log.append(*parts(batch([b"x"])), stamp=False, segment_bytes=1, segment_ms=1 << 40)
    assert synced == [0, 1]
    mark = log.mark()
    log.sync()
    log.synced(mark)
    synced.clear()
    log.append(*parts(batch([b"x"])), stamp=False, segment_bytes=1, segment_ms=1 << 40)
    assert synced == [], "it is on the disk already"


def test_a_segment_that_could_not_be_made_durable_ends_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PartitionLog(tmp_path)
    log.append(*parts(batch([b"x"])), stamp=False, segment_bytes=1, segment_ms=1 << 40)

    def fails(_: Segment) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Segment, "sync", fails)
    with pytest.raises(OSError, match="Input/output error"):
        log.append(*parts(batch([b"y"])), stamp=False, segment_bytes=1, segment_ms=1 << 40)
    monkeypatch.undo()
    with pytest.raises(OSError, match="Input/output error"):
        log.sync()  # asking again would falsely succeed


def test_what_a_late_check_refuses_is_not_there(log: PartitionLog) -> None:
    first, second = batch([b"a" * 2000]), batch([b"b" * 3000])
    append(log, first)

    def refuse() -> None:
        assert log.segments[0].path.stat().st_size == len(first) + len(second), "it is written before"
        raise ValueError

    with pytest.raises(ValueError):
        log.append(*parts(second), stamp=False, segment_bytes=HUGE, segment_ms=HUGE, check=refuse)
    assert log.segments[0].path.stat().st_size == len(first)
    assert append(log, first) == 1
    log.append(*parts(second), stamp=False, segment_bytes=HUGE, segment_ms=HUGE, check=lambda: None)
    log.expose()
    assert [h.base_offset for h in headers(log.read(0, HUGE, at_least_one=True))] == [0, 1, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reserves space behind the end of a file")
def test_reserved_space_is_given_back(log: PartitionLog) -> None:
    data = batch([bytes(3 << 20)])

    def unused(at: int) -> int:
        found = log.segments[at].path.stat()
        return found.st_blocks * 512 - found.st_size

    def write(segment_bytes: int = HUGE) -> None:
        log.append(*parts(data), stamp=False, segment_bytes=segment_bytes, segment_ms=HUGE, check=lambda: None)

    for _ in range(2):
        write()
    if unused(0) < 2 << 20:
        pytest.skip("this file system reserves nothing")
    write(segment_bytes=7 << 20)
    assert unused(0) < 1 << 20, "nothing more comes to the first segment"
    write()
    assert unused(1) > 2 << 20
    log.expose()
    again = PartitionLog(log.folder)  # as after a crash
    again.recover(0)
    assert again.next_offset == 4
    assert unused(1) < 1 << 20
    again.close()
    log.close()
