"""Reading logs back: torn tails are cut, damage in the middle is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla.broker.log import recovery
from ottla.broker.log.checkpoint import encode, write_checkpoint
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.segment import Segment
from ottla.errors import CorruptLog
from tests.broker.batches import batch, headers, parts

HUGE = 1 << 30
BATCH = batch([b"x" * 50, b"y" * 50])


def written(folder: Path, batches: int, *, segment_bytes: int = HUGE) -> PartitionLog:
    log = PartitionLog(folder)
    for number in range(batches):
        data = batch([b"x" * 50, b"y" * 50], producer_id=7, epoch=0, sequence=2 * number)
        log.append(*parts(data), stamp=False, segment_bytes=segment_bytes, segment_ms=HUGE)
    log.expose()
    log.close()
    return log


def recovered(folder: Path, start_offset: int = 0) -> PartitionLog:
    log = PartitionLog(folder)
    log.recover(start_offset)
    return log


def the_file(folder: Path) -> Path:
    return folder / "00000000000000000000.log"


def test_everything_is_there_again(tmp_path: Path) -> None:
    written(tmp_path, 5, segment_bytes=3 * len(BATCH))
    log = recovered(tmp_path)
    assert (log.start_offset, log.next_offset, log.high_watermark) == (0, 10, 10)
    assert len(log.segments) == 2
    assert [h.base_offset for h in headers(log.read(4, HUGE, at_least_one=True))] == [4]


def test_what_was_not_synced_before_a_crash_is_before_it_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "topic" / "0"
    written(folder, 5, segment_bytes=3 * len(BATCH))
    synced: list[str | int] = []
    monkeypatch.setattr(Segment, "sync", lambda segment: synced.append(segment.base_offset))
    monkeypatch.setattr(recovery, "sync_folder", lambda path: synced.append(path.name))
    log = recovered(folder)
    above = ["0", "topic", tmp_path.name]
    assert synced == [0, *above, 6, *above]
    write_checkpoint(folder, encode(log.checkpoint()), durable=False)
    synced.clear()
    assert recovered(folder).next_offset == 10
    assert synced == [], "after a clean stop everything is on the disk"


def test_an_empty_folder_is_an_empty_log(tmp_path: Path) -> None:
    assert recovered(tmp_path).next_offset == 0
    assert recovered(tmp_path / "never made").next_offset == 0


@pytest.mark.parametrize("left", [1, 11, 60, 61, len(BATCH) - 1])
def test_a_torn_tail_is_cut(tmp_path: Path, left: int) -> None:
    written(tmp_path, 3)
    path = the_file(tmp_path)
    path.write_bytes(path.read_bytes() + BATCH[:left])
    log = recovered(tmp_path)
    assert log.next_offset == 6
    assert path.stat().st_size == 3 * len(BATCH)


def test_a_tail_of_zeros_is_cut(tmp_path: Path) -> None:
    written(tmp_path, 3)
    path = the_file(tmp_path)
    path.write_bytes(path.read_bytes() + bytes(4096))
    assert recovered(tmp_path).next_offset == 6


def test_a_flipped_bit_in_the_last_batch_cuts_it(tmp_path: Path) -> None:
    written(tmp_path, 3)
    path = the_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[-5] ^= 0x10
    path.write_bytes(data)
    assert recovered(tmp_path).next_offset == 4


@pytest.mark.parametrize("position", range(8, len(BATCH), 7))
def test_a_flipped_bit_in_the_middle_is_reported_with_file_and_position(tmp_path: Path, position: int) -> None:
    written(tmp_path, 4)
    path = the_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(BATCH) + position] ^= 0x40
    path.write_bytes(data)
    if 12 <= position < 16:
        # The leader epoch is the broker's own to write and outside the checksum: nothing of the records is hurt.
        assert recovered(tmp_path).next_offset == 8
        return
    with pytest.raises(CorruptLog) as damage:
        recovered(tmp_path)
    assert f"{path}, position {len(BATCH)}" in str(damage.value)
    assert path.read_bytes() == bytes(data), "nothing may be cut from a damaged file"


def test_damage_in_an_older_segment_is_reported(tmp_path: Path) -> None:
    written(tmp_path, 6, segment_bytes=2 * len(BATCH))
    path = the_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CorruptLog, match=r"position \d+.*intact batches follow"):
        recovered(tmp_path)


def test_a_missing_segment_is_reported(tmp_path: Path) -> None:
    written(tmp_path, 6, segment_bytes=2 * len(BATCH))
    (tmp_path / "00000000000000000004.log").unlink()
    with pytest.raises(CorruptLog, match="records from offset 4 to 7 are missing"):
        recovered(tmp_path)


def test_a_torn_tail_followed_by_an_empty_segment_is_cut(tmp_path: Path) -> None:
    written(tmp_path, 2)
    path = the_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    (tmp_path / "00000000000000000004.log").touch()
    log = recovered(tmp_path)
    assert (log.next_offset, len(log.segments)) == (2, 1)


def test_a_new_empty_segment_does_not_tell_of_records_that_never_reached_the_disk(tmp_path: Path) -> None:
    written(tmp_path, 2)
    (tmp_path / "00000000000000000009.log").touch()
    log = recovered(tmp_path)
    assert (log.next_offset, len(log.segments)) == (4, 1)
    assert len(list(tmp_path.iterdir())) == 1


def test_after_a_cut_the_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    written(tmp_path, 2)
    path = the_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    log = recovered(tmp_path)
    appended = log.append(*parts(BATCH), stamp=False, segment_bytes=HUGE, segment_ms=HUGE)
    assert appended.base_offset == 2
    log.close()
    assert recovered(tmp_path).next_offset == 4


def test_the_start_of_the_log_is_the_later_of_catalogue_and_files(tmp_path: Path) -> None:
    written(tmp_path, 6, segment_bytes=2 * len(BATCH))
    log = recovered(tmp_path, start_offset=5)
    assert log.start_offset == 5
    assert not the_file(tmp_path).exists()


def test_offsets_go_on_when_retention_took_everything(tmp_path: Path) -> None:
    assert recovered(tmp_path, start_offset=12).next_offset == 12


def test_producers_are_remembered(tmp_path: Path) -> None:
    written(tmp_path, 3)
    state = recovered(tmp_path).producers.states[7]
    assert [(b.base_sequence, b.base_offset) for b in state.batches] == [(0, 0), (2, 2), (4, 4)]


def test_a_sector_that_never_reached_the_disk_is_cut_with_what_follows(tmp_path: Path) -> None:
    """Between two syncs a disk writes in any order: after a power cut later sectors may be there, earlier ones not."""
    written(tmp_path, 20)
    path = the_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[1024:1536] = bytes(512)
    path.write_bytes(data)
    log = recovered(tmp_path)
    whole = 1024 // len(BATCH)
    assert log.next_offset == 2 * whole
    assert path.stat().st_size == whole * len(BATCH)


def test_a_lost_sector_that_held_no_more_of_a_batch_than_part_of_its_offset_is_cut(tmp_path: Path) -> None:
    size = len(BATCH)
    lost = next(at for at in range(128 * size, 2000 * size, size) if at % 512 == 512 - 7)  # offsets from 256 on
    written(tmp_path, lost // size + 3)
    path = the_file(tmp_path)
    data = bytearray(path.read_bytes())
    assert any(data[lost : lost + 7])
    data[lost : lost + 7] = bytes(7)
    path.write_bytes(data)
    assert recovered(tmp_path).next_offset == 2 * lost // size
    assert path.stat().st_size == lost


def test_zeros_that_are_no_sector_are_damage(tmp_path: Path) -> None:
    written(tmp_path, 20)
    path = the_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[1100:1400] = bytes(300)
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match="intact batches follow"):
        recovered(tmp_path)


def test_an_offset_ahead_of_its_place_is_damage(tmp_path: Path) -> None:
    """The offset is not under the checksum."""
    written(tmp_path, 3)
    path = the_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[2 * len(BATCH) + 3] ^= 1
    path.write_bytes(data)
    assert recovered(tmp_path).next_offset == 4, "the last batch counts as torn"
    written(tmp_path / "more", 4)
    path = the_file(tmp_path / "more")
    data = bytearray(path.read_bytes())
    data[2 * len(BATCH) + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match="where 4 was expected"):
        recovered(tmp_path / "more")
