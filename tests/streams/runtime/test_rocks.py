"""RocksDB holds whole commits, comes back after a crash, and is restored where it is damaged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ottla.errors import OttlaError
from ottla.streams.stores import rocks
from ottla.streams.stores.rocks import RocksMemory, RocksStore


@pytest.fixture(scope="module")
def memory() -> RocksMemory:
    return RocksMemory(8 << 20)


def test_a_store_opens_where_it_was_left(tmp_path: Path, memory: RocksMemory) -> None:
    store = RocksStore(tmp_path / "s", memory)
    store.apply({b"a": b"1", b"b": b"2"}, 10)
    store.apply({b"a": None}, None)
    store.close()
    store.close()
    again = RocksStore(tmp_path / "s", memory)
    assert (list(again.range(None, None)), again.changelog_offset) == ([(b"b", b"2")], 10)
    again.close()


def test_the_offset_is_never_apart_from_its_changes_after_kill_9(tmp_path: Path, memory: RocksMemory) -> None:
    """The child commits batch n with offset n until it is killed."""
    program = f"""
from pathlib import Path
from ottla.streams.stores.rocks import RocksMemory, RocksStore
store = RocksStore(Path({str(tmp_path / "s")!r}), RocksMemory(8 << 20))
for n in range(1, 1_000_000):
    store.apply({{b"key-%d" % key: b"%d" % n for key in range(20)}}, n)
    if n == 50:
        print("go", flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "go\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    store = RocksStore(tmp_path / "s", memory)
    values = {int(value) for _, value in store.range(None, None)}
    assert values == {store.changelog_offset}
    assert (store.changelog_offset or 0) >= 50
    store.close()


@pytest.mark.parametrize("file", ["MANIFEST", "CURRENT"])
def test_a_damaged_folder_is_emptied_and_says_that_nothing_is_known(
    tmp_path: Path, memory: RocksMemory, caplog: pytest.LogCaptureFixture, file: str
) -> None:
    store = RocksStore(tmp_path / "s", memory)
    store.apply({b"a": b"1"}, 10)
    store.close()
    for one in (tmp_path / "s").glob(f"{file}*"):
        one.write_bytes(one.read_bytes()[:5])
    again = RocksStore(tmp_path / "s", memory)
    assert (list(again.range(None, None)), again.changelog_offset) == ([], None)
    assert "is damaged" in caplog.text
    again.apply({b"a": b"2"}, 3)
    again.close()


def test_a_store_can_be_cleared_while_it_is_open(tmp_path: Path, memory: RocksMemory) -> None:
    store = RocksStore(tmp_path / "s", memory)
    store.apply({b"a": b"1"}, 10)
    store.clear()
    assert (store.get(b"a"), store.changelog_offset) == (None, None)
    store.apply({b"b": b"1"}, 1)
    store.close()


def test_a_folder_that_is_open_already_is_refused_with_its_name(
    tmp_path: Path, memory: RocksMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rocks, "LOCK_WAIT_S", 0.1)
    store = RocksStore(tmp_path / "s", memory)
    with pytest.raises(OttlaError, match=str(tmp_path / "s")):
        RocksStore(tmp_path / "s", memory)
    store.close()


def test_keys_come_in_the_order_of_their_bytes_both_ways(tmp_path: Path, memory: RocksMemory) -> None:
    store = RocksStore(tmp_path / "s", memory)
    store.apply({bytes([n]): b"x" for n in (5, 1, 3, 255)}, 1)
    assert [key[0] for key, _ in store.range(b"\1", b"\5")] == [1, 3]
    assert [key[0] for key, _ in store.range(b"\2", None, reverse=True)] == [255, 5, 3]
    assert [key[0] for key, _ in store.range(None, b"\5", reverse=True)] == [3, 1]
    assert store.get_many([b"\1", b"\2"]) == [b"x", None]
    store.close()
