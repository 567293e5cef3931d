"""A full disk: nothing acknowledged is lost, answers are Kafka's, and the broker goes on when there is room again."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ottla.broker.wire.schema import Message
from tests.broker.batches import batch, headers
from tests.broker.running import Client, RunningBroker

KAFKA_STORAGE_ERROR = 56
PATIENCE_S = 20.0
MEGABYTE = 1 << 20


class SmallDisk:
    """A folder on a disk that can be filled. `fill` takes what is left of it, `free` gives it back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder.parent / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for size in (MEGABYTE, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def free(self) -> None:
        self._filler.unlink()


class FakeSmallDisk(SmallDisk):
    """The same by failing calls, where nothing can be mounted: while it is full no file grows."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        self.full = False
        for name in ("pwritev", "pwrite", "write"):
            monkeypatch.setattr(os, name, self._failing(getattr(os, name)))

    def _failing(self, original: Callable[..., int]) -> Callable[..., int]:
        def call(fd: int, data: object, *more: int) -> int:
            if self.full and os.readlink(f"/proc/self/fd/{fd}").startswith(str(self.folder)):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(fd, data, *more)

        return call

    def fill(self) -> None:
        self.full = True

    def free(self) -> None:
        self.full = False


@pytest.fixture(params=["mounted", "faked"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallDisk]:
    if sys.platform != "linux":
        pytest.skip("the small disk is made as Linux does it")
    mount = tmp_path / "disk"
    mount.mkdir()
    if request.param == "faked":
        yield FakeSmallDisk(mount / "data", monkeypatch)
        return
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount)], capture_output=True)
    if made.returncode:
        pytest.skip("mounting wants root")
    yield SmallDisk(mount / "data")
    subprocess.run(["umount", str(mount)], check=True)


def produce(client: Client, number: int, topic: str = "t") -> int:
    answer = client.produce(topic, batch([b"value %d" % number + bytes(2000)], key=b"%d" % (number % 3)))
    if answer["error_code"]:
        assert (answer["error_code"], answer["base_offset"]) == (KAFKA_STORAGE_ERROR, -1)
        assert "No space left" in answer["error_message"]
    return int(answer["base_offset"])


def commit(client: Client, offset: int) -> int:
    part = {"partition_index": 0, "committed_offset": offset, "committed_metadata": None}
    body = {"group_id": "g", "generation_id": -1, "member_id": "", "retention_time_ms": -1}
    answer = client.ask("OffsetCommit", 2, topics=[{"name": "t", "partitions": [part]}], **body)
    return int(answer["topics"][0]["partitions"][0]["error_code"])


def committed(client: Client) -> int:
    answer = client.ask("OffsetFetch", 5, group_id="g", topics=[{"name": "t", "partition_indexes": [0]}])
    return int(answer["topics"][0]["partitions"][0]["committed_offset"])


def create(client: Client, topic: str) -> Message:
    wanted = {"name": topic, "num_partitions": 1, "replication_factor": 1, "configs": []}
    answer: Message = client.ask("CreateTopics", 4, topics=[wanted])["topics"][0]
    return answer


def offsets(client: Client, topic: str = "t", start: int = 0) -> list[int]:
    found: list[int] = []
    while data := bytes(client.fetch(topic, start)["records"] or b""):
        found += [header.base_offset for header in headers(data)]
        start = found[-1] + 1
    return found


def test_what_was_acknowledged_before_and_after_is_there(disk: SmallDisk) -> None:
    with RunningBroker(disk.folder) as broker:
        client = broker.connect()
        client.create("t", internal_segment_bytes="20000")
        acknowledged = [produce(client, number) for number in range(20)]
        assert commit(client, 7) == 0

        disk.fill()
        refused = [produce(client, number) for number in range(12)]
        # On a real disk the last block of a file may have room still; then nothing fits.
        acknowledged += [offset for offset in refused if offset >= 0]
        assert refused[-1] == -1
        codes = [commit(client, 8 + number) for number in range(200)]
        last_committed = max([7, *(8 + number for number, code in enumerate(codes) if code == 0)])
        assert codes[-1] == KAFKA_STORAGE_ERROR
        made = [name for name in map(str, range(200)) if create(client, name)["error_code"] == 0]
        assert create(client, "one-more")["error_code"] == KAFKA_STORAGE_ERROR
        assert offsets(client) == acknowledged, "reading goes on"
        assert committed(client) == last_committed

        disk.free()
        acknowledged += [produce(client, number) for number in range(5)]
        assert commit(client, 500) == 0
        assert create(client, "later")["error_code"] == 0
        assert acknowledged == list(range(len(acknowledged)))
        client.close()
    with RunningBroker(disk.folder) as broker:
        client = broker.connect()
        assert offsets(client) == acknowledged
        assert committed(client) == 500
        listed = {topic["name"] for topic in client.ask("Metadata", 4, topics=None)["topics"]}
        assert listed >= {"t", "later", *made}
        client.close()


def test_deleting_makes_room_on_a_full_disk(disk: SmallDisk) -> None:
    if isinstance(disk, FakeSmallDisk):
        pytest.skip("removing a file makes no room there")
    with RunningBroker(disk.folder) as broker:
        client = broker.connect()
        for topic in ("t", "bulk"):
            client.create(topic, internal_segment_bytes="20000")
            for number in range(100):
                produce(client, number, topic)
        disk.fill()
        while produce(client, 0) >= 0:
            pass
        assert create(client, "x" * 200)["error_code"] in (0, KAFKA_STORAGE_ERROR)
        (deleted,) = client.ask("DeleteTopics", 3, topic_names=["bulk"])["responses"]
        assert deleted["error_code"] == 0
        deadline = time.monotonic() + PATIENCE_S
        while produce(client, 0) < 0:
            assert time.monotonic() < deadline, "there is still no room"
        client.close()


def test_compaction_waits_for_room(disk: SmallDisk) -> None:
    with RunningBroker(disk.folder) as broker:
        client = broker.connect()
        client.create("t", internal_segment_bytes="20000", cleanup_policy="compact")
        for number in range(60):
            assert produce(client, number) == number
        log = broker.server.broker.catalog.topics["t"].partitions[0]
        cleaner = broker.server.broker.cleaner
        disk.fill()
        broker.server.loop.post(cleaner.tick)
        wait_until(lambda: cleaner._stuck, "it was tried")
        assert offsets(client) == list(range(60))
        assert not list(disk.folder.rglob("*.cleaned"))

        disk.free()
        cleaner._stuck.clear()
        broker.server.loop.post(cleaner.tick)
        wait_until(lambda: log.cleaned, "it is compacted now that there is room")
        kept = offsets(client)
        assert kept == sorted(set(kept))
        assert {57, 58, 59} <= set(kept)
        assert len(kept) < 30
        client.close()


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)
