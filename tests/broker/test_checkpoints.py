"""Starting from checkpoints: what they stand for is not read again, what lies behind is; none is just trusted."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from ottla.broker.log import checkpoint, index, recovery
from ottla.broker.log.checkpointer import Checkpointer
from ottla.broker.log.open_files import OpenFiles
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.scrubber import Scrubber
from ottla.broker.log.segment import Segment
from ottla.errors import CorruptLog
from tests.broker.batches import T0, batch, headers, parts

HUGE = 1 << 30
SIZE = len(batch([b"x" * 300]))
A_SEGMENT = 5 * SIZE


def append(log: PartitionLog, count: int, *, first: int = 0) -> None:
    for number in range(first, first + count):
        data = batch([b"x" * 300], producer_id=7, epoch=0, sequence=number, timestamps=[T0 + number])
        log.append(*parts(data), stamp=False, segment_bytes=A_SEGMENT, segment_ms=HUGE)
    log.expose()


def save(log: PartitionLog) -> None:
    """What the broker does when it stops."""
    Checkpointer(lambda: [log], lambda _, done: done(), lambda _: None, 30.0).close()


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A log of 12 batches in three segments, stopped with a checkpoint."""
    log = PartitionLog(tmp_path / "log")
    append(log, 12)
    save(log)
    log.close()
    return log.folder


def started(folder: Path, start_offset: int = 0) -> PartitionLog:
    log = PartitionLog(folder)
    log.recover(start_offset)
    return log


def everything(log: PartitionLog) -> list[int]:
    offset, found = log.start_offset, []
    while offset < log.high_watermark:
        for header in headers(log.read(offset, HUGE, at_least_one=True)):
            found.append(header.base_offset)
            offset = header.last_offset + 1
    return found


def scanned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions of the batches that a start checks from now on."""
    positions: list[int] = []
    original = recovery._batches

    def counting(fd: int, position: int, size: int) -> object:
        for found in original(fd, position, size):
            positions.append(found[0])
            yield found

    monkeypatch.setattr(recovery, "_batches", counting)
    return positions


def test_after_a_clean_stop_nothing_is_read_and_no_file_is_open(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    positions = scanned(monkeypatch)
    log = started(stopped)
    assert positions == []
    assert [segment.fd for segment in log.segments] == [-1, -1, -1]
    assert (log.start_offset, log.next_offset, log.high_watermark) == (0, 12, 12)
    assert [b.base_offset for b in log.producers.states[7].batches] == [7, 8, 9, 10, 11]
    assert everything(log) == list(range(12))


def test_after_a_crash_only_what_lies_behind_the_checkpoint_is_checked(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = started(stopped)
    append(log, 5, first=12)
    log.close()
    positions = scanned(monkeypatch)
    log = started(stopped)
    assert positions == [2 * SIZE, 3 * SIZE, 4 * SIZE, 0, SIZE]
    assert log.next_offset == 17
    assert [b.base_offset for b in log.producers.states[7].batches] == [12, 13, 14, 15, 16]
    assert everything(log) == list(range(17))
    append(log, 1, first=17)
    assert everything(log) == list(range(18))


def test_a_torn_tail_behind_the_checkpoint_is_cut(stopped: Path) -> None:
    path = sorted(stopped.glob("*.log"))[-1]
    with path.open("ab") as file:
        file.write(batch([b"y" * 300])[:-1])
    log = started(stopped)
    assert log.next_offset == 12
    assert path.stat().st_size == 2 * SIZE


def test_producers_are_known_after_retention_took_everything(stopped: Path) -> None:
    log = started(stopped)
    log.roll_for_retention()
    for segment in log.delete_until(log.next_offset):
        segment.delete()
        segment.close()
    log.close()
    again = started(stopped, 12)
    assert (again.start_offset, again.next_offset) == (12, 12)
    data = batch([b"x" * 300], producer_id=7, epoch=0, sequence=11, timestamps=[T0 + 11])
    found = again.duplicate_of(parts(data)[0])
    assert found is not None
    assert found.base_offset == 11
    append(again, 3, first=12)
    assert everything(again) == [12, 13, 14]


def test_segments_that_retention_took_since_are_not_missed(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sorted(stopped.glob("*.log"))[0].unlink()
    positions = scanned(monkeypatch)
    log = started(stopped, start_offset=5)
    assert (log.start_offset, log.next_offset, positions) == (5, 12, [])


def damage_end(path: Path) -> None:
    os.truncate(path, path.stat().st_size - SIZE)


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("harm", [Path.unlink, damage_end])
def test_durable_records_that_are_gone_are_reported(stopped: Path, which: int, harm: Callable[[Path], None]) -> None:
    harm(sorted(stopped.glob("*.log"))[which])
    with pytest.raises(CorruptLog, match=r"are missing|end at offset|records follow"):
        started(stopped)


def test_all_files_gone_but_the_checkpoint_is_reported(stopped: Path) -> None:
    for path in stopped.glob("*.log"):
        path.unlink()
    with pytest.raises(CorruptLog, match="end at offset 0, but those before 12 were on the disk"):
        started(stopped)


@pytest.mark.parametrize("form", ["missing", "empty", "other version", "wrong form", "wrong producers"])
def test_without_a_whole_checkpoint_the_log_is_read(stopped: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stopped / checkpoint.FILE
    saved = checkpoint.read_checkpoint(stopped)
    assert saved is not None
    contents = {
        "empty": b"",
        "other version": checkpoint.encode(saved).replace(b"OTTLACP1", b"OTTLACP9"),
        "wrong form": checkpoint.encode(saved._replace(segments=[["a"]])),  # type: ignore[list-item]
        "wrong producers": checkpoint.encode(saved._replace(producers=[[1, 2]])),
    }
    path.unlink()
    if form in contents:
        path.write_bytes(contents[form])
    positions = scanned(monkeypatch)
    log = started(stopped)
    assert len(positions) == 12
    assert everything(log) == list(range(12))
    assert [b.base_offset for b in log.producers.states[7].batches] == [7, 8, 9, 10, 11]


def test_any_flipped_bit_in_a_checkpoint_or_an_index_is_found_out(stopped: Path) -> None:
    dice = random.Random(1)
    for path in [stopped / checkpoint.FILE, *stopped.glob("*.index")]:
        good = path.read_bytes()
        for _ in range(60):
            bad = bytearray(good)
            bad[dice.randrange(len(bad))] ^= 1 << dice.randrange(8)
            path.write_bytes(bad)
            log = started(stopped)
            assert everything(log) == list(range(12))
            assert log.read(8, 1, at_least_one=True)[:8] == (8).to_bytes(8, "big")
            log.close()
        path.write_bytes(good)


def test_a_torn_index_is_made_anew(stopped: Path) -> None:
    for path in stopped.glob("*.index"):
        path.write_bytes(path.read_bytes()[:-5])
    assert everything(started(stopped)) == list(range(12))


def test_an_index_of_another_file_of_that_name_is_not_taken(stopped: Path) -> None:
    """As after a compaction that a crash cut short, or a restored backup."""
    path = sorted(stopped.glob("*.log"))[0]
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)
    segment = started(stopped).segments[0]
    assert index.read_index(path.with_suffix(".index"), segment._identity(), segment.size) is None
    assert everything(started(stopped)) == list(range(12))


def test_a_huge_index_is_not_even_read(stopped: Path) -> None:
    path = sorted(stopped.glob("*.index"))[0]
    with path.open("ab") as file:
        file.truncate(1 << 40)
    assert everything(started(stopped)) == list(range(12))


def test_records_before_the_checkpoint_are_checked_before_they_are_served(stopped: Path) -> None:
    path = sorted(stopped.glob("*.log"))[1]
    data = bytearray(path.read_bytes())
    data[SIZE + 100] ^= 1
    path.write_bytes(data)
    log = started(stopped)
    assert [header.base_offset for header in headers(log.read(5, HUGE, at_least_one=True))] == [5]
    with pytest.raises(CorruptLog, match=f"{path}, position {SIZE}"):
        log.read(6, HUGE, at_least_one=True)
    assert str(path) in log.damage
    assert [header.base_offset for header in headers(log.read(7, HUGE, at_least_one=True))] == [7, 8, 9]


def test_the_scrubber_finds_damage_that_nobody_reads(stopped: Path) -> None:
    path = sorted(stopped.glob("*.log"))[1]
    data = bytearray(path.read_bytes())
    data[SIZE + 100] ^= 1
    path.write_bytes(data)
    log = started(stopped)
    found: list[str] = []
    scrubber = Scrubber([(segment, log.end_of(segment)) for segment in log.segments], found.append)
    scrubber.run()
    assert found == [f"{path}, position {SIZE}: the batch does not match its checksum or its place"]
    assert scrubber.finished
    assert [segment.unverified for segment in log.segments] == [0, A_SEGMENT, 0]


def test_a_nonsensical_length_in_an_old_batch_is_damage_and_no_endless_loop(stopped: Path) -> None:
    path = sorted(stopped.glob("*.log"))[0]
    data = bytearray(path.read_bytes())
    data[SIZE + 8 : SIZE + 12] = (-12).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    for name in stopped.glob("*.index"):
        name.unlink()
    with pytest.raises(CorruptLog):
        started(stopped).read(3, HUGE, at_least_one=True)


def test_checkpoints_are_written_when_they_are_due_and_once_the_log_is_durable(tmp_path: Path) -> None:
    log = PartitionLog(tmp_path)
    waiting: list[Callable[[], None]] = []
    written: list[Callable[[], None]] = []
    checkpointer = Checkpointer(lambda: [log], lambda _, done: waiting.append(done), written.append, 30.0)
    append(log, 3)
    checkpointer.tick(100.0)
    checkpointer.tick(129.0)
    assert waiting == []
    checkpointer.tick(130.0)
    append(log, 1, first=3)
    (durable,) = waiting
    assert not (tmp_path / checkpoint.FILE).exists()
    durable()
    checkpointer._jobs.put(None)
    assert checkpointer._thread is not None
    checkpointer._thread.join()
    saved = checkpoint.read_checkpoint(tmp_path)
    assert saved is not None
    assert saved.offset == 3, "what came after it was taken is not durable, and not in it"
    assert len(written) == 1


def test_a_checkpoint_that_cannot_be_written_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PartitionLog(tmp_path)
    append(log, 2)
    save(log)
    append(log, 2, first=2)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    save(log)
    monkeypatch.undo()
    log.close()
    saved = checkpoint.read_checkpoint(tmp_path)
    assert saved is not None
    assert saved.offset == 2
    assert started(tmp_path).next_offset == 4


def test_no_more_files_are_open_than_allowed(tmp_path: Path) -> None:
    files = OpenFiles(limit=3)
    segments = []
    for number in range(10):
        segment = Segment(tmp_path / f"{number:020d}.log", number, 0.0, files=files)
        segment._open(os.O_CREAT)
        segments.append(segment)
    assert len(files) == 3
    for segment in segments:
        header, body = parts(batch([b"x"]))
        segment.append([batch([b"x"])[:21], body], header, segment.base_offset)
        segment.sync()
        assert [found.base_offset for _, found in segment.headers()] == [0]
    assert sum(segment.fd >= 0 for segment in segments) == 3


def test_a_checkpoint_is_json_within_its_checksum(stopped: Path) -> None:
    """Its form is part of the data folder's: whoever changes it must still read the old one, or pass it over."""
    body = json.loads((stopped / checkpoint.FILE).read_bytes()[16:])
    assert body[0] == 12
    assert [state[:2] for state in body[2]] == [[0, A_SEGMENT], [5, A_SEGMENT], [10, 2 * SIZE]]
