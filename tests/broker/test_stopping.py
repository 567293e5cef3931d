"""SIGTERM: whatever clients are doing, the broker makes everything durable and is gone within a second."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.broker.batches import batch
from tests.broker.running import PATIENCE_S, Client, RunningBroker

CONNECTIONS = 200
LONG_MS = 60_000


def start(folder: Path, *options: str) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "ottla.broker", "--data", str(folder), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline().rpartition(":")[2])


@pytest.fixture
def clients() -> Iterator[list[Client]]:
    opened: list[Client] = []
    yield opened
    for client in opened:
        client.close()


def poll(client: Client, offset: int) -> None:
    part = {"partition": 0, "current_leader_epoch": -1, "fetch_offset": offset, "partition_max_bytes": 1 << 20}
    client.send(
        "Fetch",
        11,
        replica_id=-1,
        max_wait_ms=LONG_MS,
        min_bytes=1,
        max_bytes=1 << 20,
        session_epoch=-1,
        topics=[{"topic": "t", "partitions": [part]}],
    )


def join(client: Client, group: str) -> None:
    client.send(
        "JoinGroup",
        1,
        group_id=group,
        session_timeout_ms=LONG_MS,
        rebalance_timeout_ms=LONG_MS,
        member_id="",
        protocol_type="consumer",
        protocols=[{"name": "range", "metadata": b""}],
    )


@pytest.mark.parametrize("flush", ["ack", "interval", "none"])
def test_it_is_gone_within_a_second_though_200_connections_wait(
    tmp_path: Path, clients: list[Client], flush: str
) -> None:
    process, port = start(tmp_path, "--flush", flush, "--group-initial-rebalance-delay-ms", str(LONG_MS))
    clients += [Client(port) for _ in range(CONNECTIONS)]
    first = clients[0]
    topic = {"name": "t", "num_partitions": 1, "replication_factor": 1}
    first.ask("CreateTopics", 5, topics=[topic], timeout_ms=1000)
    produced = {"name": "t", "partition_data": [{"index": 0, "records": batch([b"v"] * 10)}]}
    answer = first.ask("Produce", 9, acks=-1, timeout_ms=1000, topic_data=[produced])
    assert answer["responses"][0]["partition_responses"][0]["error_code"] == 0
    for number, client in enumerate(clients[:150]):
        poll(client, 10) if number % 3 else join(client, f"g{number % 5}")
    clients[-2].sock.sendall(b"\0\0\1\0half")  # and one in the middle of a request
    assert clients[-1].ask("ListGroups", 0)["error_code"] == 0  # all of that has arrived
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - begun < 1
    assert (process.returncode, err) == (0, "")
    again, port = start(tmp_path)
    clients.append(Client(port))
    offsets = [{"name": "t", "partitions": [{"partition_index": 0, "timestamp": -1}]}]
    answer = clients[-1].ask("ListOffsets", 1, replica_id=-1, topics=offsets)
    assert answer["topics"][0]["partitions"][0]["offset"] == 10
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=PATIENCE_S)


def test_a_second_signal_does_no_harm(tmp_path: Path) -> None:
    process, _ = start(tmp_path)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")


def test_checkpoints_for_which_no_time_was_left_cost_the_next_start_some_reading_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ottla.broker.log.checkpointer.CLOSE_S", -1)
    with RunningBroker(tmp_path) as running, closing(running.connect()) as client:
        topic = {"name": "t", "num_partitions": 3, "replication_factor": 1}
        client.ask("CreateTopics", 5, topics=[topic], timeout_ms=1000)
        parts = [{"index": index, "records": batch([b"v"] * 4)} for index in range(3)]
        client.ask("Produce", 9, acks=-1, timeout_ms=1000, topic_data=[{"name": "t", "partition_data": parts}])
    assert not list(tmp_path.glob("logs/*/*/checkpoint"))
    with RunningBroker(tmp_path) as again, closing(again.connect()) as client:
        wanted = [{"partition_index": index, "timestamp": -1} for index in range(3)]
        answer = client.ask("ListOffsets", 1, replica_id=-1, topics=[{"name": "t", "partitions": wanted}])
        assert [part["offset"] for part in answer["topics"][0]["partitions"]] == [4, 4, 4]
    monkeypatch.undo()
    with RunningBroker(tmp_path):
        pass
    assert len(list(tmp_path.glob("logs/*/*/checkpoint"))) == 3
