"""The journal: replay, torn tails, damage, compaction."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ottla.broker.log import journal as journal_module
from ottla.broker.log.batch import crc_of
from ottla.broker.log.journal import Entry, Journal
from ottla.errors import CorruptLog


def opened(path: Path, snapshot: list[Entry] | None = None) -> tuple[Journal, list[Entry]]:
    seen: list[Entry] = []
    return Journal(path, seen.append, lambda: snapshot or []), seen


@pytest.fixture
def path(tmp_path: Path) -> Path:
    journal, _ = opened(tmp_path / "test.journal")
    journal.append(["a", 1], ["b", "ü", None])
    journal.append(["c", {"x": [1, 2]}])
    journal.close()
    return tmp_path / "test.journal"


def test_records_come_back_in_order(path: Path) -> None:
    journal, seen = opened(path)
    journal.close()
    assert seen == [["a", 1], ["b", "ü", None], ["c", {"x": [1, 2]}]]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_tail_is_cut(path: Path, cut: int) -> None:
    path.write_bytes(path.read_bytes()[:-cut])
    journal, seen = opened(path)
    journal.append(["d"])
    journal.close()
    assert seen == [["a", 1], ["b", "ü", None]]
    journal, seen = opened(path)
    journal.close()
    assert seen[-1] == ["d"]


@pytest.mark.parametrize("position", range(12))
def test_a_flipped_bit_in_the_middle_is_reported(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x04
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match="position 0"):
        opened(path)
    assert path.read_bytes() == bytes(data)


@pytest.mark.parametrize("padding", range(24))
def test_a_sector_that_never_reached_the_disk_is_cut_however_little_of_a_record_it_held(
    tmp_path: Path, padding: int
) -> None:
    """Between two syncs a disk writes in any order: after a power cut later sectors may be there, earlier ones not."""
    path = tmp_path / "test.journal"
    journal, _ = opened(path)
    journal.append(["first", "x" * (470 + padding)])
    begun = journal.size
    for number in range(3):
        journal.append(["unsynced", number])
    journal.close()
    data = bytearray(path.read_bytes())
    data[begun:512] = bytes(max(0, 512 - begun))
    path.write_bytes(data)
    journal, seen = opened(path)
    journal.close()
    assert [entry[0] for entry in seen[:1]] == ["first"]
    assert len(seen) == (1 if begun < 512 else 4)


def test_records_of_before_they_were_aligned_are_read_and_followed(tmp_path: Path) -> None:
    body = b'["a"]'
    path = tmp_path / "test.journal"
    path.write_bytes(struct.pack(">II", len(body), crc_of(body)) + body)
    journal, _ = opened(path)
    journal.append(["b"])
    assert journal.size % 8 == 0
    journal.close()
    assert opened(path)[1] == [["a"], ["b"]]


def test_a_grown_journal_is_written_anew_from_the_state(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "COMPACT_ABOVE_BYTES", 100)
    journal, _ = opened(path, snapshot=[["state", 1]])
    for number in range(50):
        journal.append(["padding", number, "x" * 100])
    journal.append(["last"])
    journal.sync()
    journal.close()
    assert path.stat().st_size < 3000
    journal, seen = opened(path)
    journal.close()
    assert seen[0] == ["state", 1]
    assert seen[-1] == ["last"]


def test_a_disk_too_full_to_write_it_anew_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, _ = opened(path, [["state"]])
    journal._limit = 0

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(journal_module.os, "replace", full)
        journal.append(["d"])
    journal.append(["e"])
    journal.close()
    journal, seen = opened(path)
    journal.close()
    assert seen[-2:] == [["d"], ["e"]]
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]


def test_a_change_written_before_the_state_is_made_survives_writing_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "COMPACT_ABOVE_BYTES", 100)
    state: list[Entry] = []
    journal = Journal(path, state.append, lambda: state)
    for number in range(50):
        entry = ["change", number, "x" * 100]
        journal.append(entry)  # as every user of a journal does: written down first, then done
        state.append(entry)
    journal.close()
    assert opened(path)[1] == state
