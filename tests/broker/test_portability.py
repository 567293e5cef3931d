"""What macOS does otherwise than Linux, as far as that can be simulated: syncs, selectors, limits, missing calls."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import selectors
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ottla.broker import server
from ottla.broker.log import durable
from tests.broker.batches import batch
from tests.broker.running import RunningBroker
from tests.contracts.asking import Asking
from tests.contracts.raw_log import committed_values
from tests.contracts.transactor import Transactor, committed

F_FULLFSYNC = 51


class Calls:
    """What was asked of the operating system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, full_sync_fails_with: int | None = None) -> None:
        self.made: list[str] = []
        self._fault = full_sync_fails_with
        monkeypatch.setattr(fcntl, "F_FULLFSYNC", F_FULLFSYNC, raising=False)
        monkeypatch.setattr(fcntl, "fcntl", self._fcntl)
        monkeypatch.setattr(os, "fsync", lambda fd: self.made.append("fsync"))
        monkeypatch.setattr(os, "fdatasync", lambda fd: self.made.append("fdatasync"), raising=False)

    def _fcntl(self, fd: int, command: int) -> int:
        assert command == F_FULLFSYNC
        self.made.append("F_FULLFSYNC")
        if self._fault is not None:
            raise OSError(self._fault, os.strerror(self._fault))
        return 0


@pytest.mark.parametrize(
    ("system", "file", "everything"), [("linux", "fdatasync", "fsync"), ("darwin", "F_FULLFSYNC", "F_FULLFSYNC")]
)
def test_a_sync_reaches_the_disk_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str, file: str, everything: str
) -> None:
    monkeypatch.setattr("sys.platform", system)
    calls = Calls(monkeypatch)
    durable.sync_file(0)
    durable.sync_all(0)
    durable.sync_folder(tmp_path)
    assert calls.made == [file, everything, everything]


def test_a_drive_that_knows_no_full_sync_gets_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    calls = Calls(monkeypatch, full_sync_fails_with=errno.ENOTSUP)
    durable.sync_file(0)
    assert calls.made == ["F_FULLFSYNC", "fsync"]


def test_a_full_sync_that_failed_is_never_made_good_by_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    calls = Calls(monkeypatch, full_sync_fails_with=errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        durable.sync_file(0)
    assert calls.made == ["F_FULLFSYNC"]


@pytest.mark.parametrize("present", [True, False])
def test_chunks_are_written_one_after_another_also_without_pwritev(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, present: bool
) -> None:
    if not present:
        monkeypatch.delattr(os, "pwritev", raising=False)
    with (tmp_path / "file").open("w+b") as file:
        assert durable.write_at(file.fileno(), [b"ab", memoryview(b"cde")], 2) == 5
        assert file.read() == b"\0\0abcde"


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The broker takes macOS's ways, with none of the calls that only Linux has; gives what was synced fully (inodes).

    The kernel here knows no F_FULLFSYNC and says EINVAL, as network drives do there: then fsync has to do.
    """
    asked: list[int] = []
    real = fcntl.fcntl

    def asking(fd: int, command: int, *more: int) -> int:
        if command == F_FULLFSYNC:
            asked.append(os.fstat(fd).st_ino)
        return real(fd, command, *more)

    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", F_FULLFSYNC, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", asking)
    for name in ("fdatasync", "pwritev", "posix_fallocate", "posix_fadvise", "sendfile", "splice", "copy_file_range"):
        monkeypatch.delattr(os, name, raising=False)
    durable._system_call.cache_clear()
    yield asked
    durable._system_call.cache_clear()


def test_the_calls_that_only_linux_has_are_left_out_elsewhere(macos: list[int], tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb", buffering=0) as file:
        file.write(b"x" * 5000)
        durable.reserve(file.fileno(), 5000, 10 << 20)
        durable.start_writing(file.fileno(), 0, 5000)
    assert durable._system_call("fallocate") is None
    assert durable._system_call("sync_file_range") is None
    assert path.stat().st_blocks * 512 < 1 << 20, "no space is put by"


def test_everything_is_kept_with_macos_calls_alone(macos: list[int], tmp_path: Path) -> None:
    """Large batches, offsets and a transaction, acknowledged, are there after a restart; each log was synced fully."""
    values = [os.urandom(600_000), os.urandom(600_000), b"small"]
    with RunningBroker(tmp_path) as running, closing(running.connect()) as client:
        client.create("t")
        for value in values:
            assert client.produce("t", batch([value]))["error_code"] == 0
        with Asking(address_of(running)) as asking:
            one = Transactor(asking, "x").begin()
            assert one.add("t", 0) == [0]
            assert one.produce("t", [b"decided"])[0] == 0
            assert one.add_offsets("g") == 0
            assert one.commit_offset("g", "t", 7) == 0
            one.finish(commit=True)
    log = next(tmp_path.rglob("00000000000000000000.log"))
    journals = [tmp_path / f"{name}.journal" for name in ("catalog", "groups", "transactions")]
    assert {path.stat().st_ino for path in (log, *journals)} <= set(macos)
    with RunningBroker(tmp_path) as running, Asking(address_of(running)) as asking:
        assert committed_values(asking, "t", 0) == [*values, b"decided"]
        assert committed(asking, "g", "t") == (0, 7)


@pytest.mark.parametrize("most", [1 << 20, 10_240, 256])
def test_as_many_files_as_the_system_grants_are_asked_for(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """macOS calls its hard limit infinite, and refuses more than kern.maxfilesperproc."""
    granted = [256]

    def grant(_: int, limits: tuple[int, int]) -> None:
        if limits[0] > most:
            raise ValueError("current limit exceeds maximum limit")
        granted.append(limits[0])

    monkeypatch.setattr(resource, "getrlimit", lambda _: (granted[-1], resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", grant)
    monkeypatch.setattr(server.FILES, "limit", server.FILES.limit)
    server._raise_file_limit()
    assert granted[-1] == {1 << 20: 65_536, 10_240: 10_240, 256: 256}[most]


@dataclass
class Address:
    bootstrap_servers: str


def address_of(running: RunningBroker) -> Any:
    return Address(f"127.0.0.1:{running.server.port}")


class SplitSelector(selectors.PollSelector):
    """Tells of reading and writing one after the other, as kqueue does, even if the first has closed the socket."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(timeout)
        kinds = (selectors.EVENT_READ, selectors.EVENT_WRITE)
        return [(key, kind) for key, events in found for kind in kinds if events & kind]


@pytest.mark.parametrize("selector", [SplitSelector, selectors.SelectSelector])
def test_clients_are_served_whatever_the_selector(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, selector: type[selectors.BaseSelector]
) -> None:
    monkeypatch.setattr("selectors.DefaultSelector", selector)
    with RunningBroker(tmp_path) as running, closing(running.connect()) as client:
        topic = {"name": "t", "num_partitions": 1, "replication_factor": 1}
        client.ask("CreateTopics", 5, topics=[topic], timeout_ms=1000)
        large = batch([os.urandom(800_000)])
        data = {"name": "t", "partition_data": [{"index": 0, "records": large}]}
        for _ in range(6):
            answer = client.ask("Produce", 7, acks=-1, timeout_ms=1000, topic_data=[data])
            assert answer["responses"][0]["partition_responses"][0]["error_code"] == 0
        # Requests while the answers to earlier ones still wait for the socket to take them: both events at once.
        part = {"partition": 0, "current_leader_epoch": -1, "fetch_offset": 0, "partition_max_bytes": 8 << 20}
        for _ in range(8):
            client.send(
                "Fetch",
                11,
                replica_id=-1,
                max_wait_ms=0,
                min_bytes=1,
                max_bytes=8 << 20,
                session_epoch=-1,
                topics=[{"topic": "t", "partitions": [part]}],
            )
        for _ in range(8):
            records = client.receive()["responses"][0]["partitions"][0]["records"]
            assert len(records) == 6 * len(large)
        gone = running.connect()
        gone.send("ListGroups", 0)
        gone.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets it
        gone.close()
        assert client.ask("ListGroups", 0)["error_code"] == 0
    assert running.failure is None
