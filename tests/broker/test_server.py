"""The broker over its socket: order of replies, caps, restarts, and disks that fail."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ottla.broker.connection import PENDING_BYTES_MAX, Connection
from ottla.broker.log import segment as segment_module
from ottla.broker.log.partition_log import PartitionLog
from ottla.errors import BrokerError, CorruptLog
from tests.broker.batches import batch, headers
from tests.broker.running import Client, RunningBroker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    with RunningBroker(tmp_path / "data", request_max_bytes=1 << 20, connections_max=5) as running:
        yield running


@pytest.fixture
def client(broker: RunningBroker) -> Iterator[Client]:
    connected = broker.connect()
    connected.create("t")
    yield connected
    connected.close()


def test_replies_come_in_the_order_of_the_requests_long_polls_included(client: Client) -> None:
    client.send_fetch("t", 0, wait_ms=300)
    client.send("ApiVersions", 3)
    client.send("ListGroups", 2)
    begun = time.monotonic()
    assert client.receive()["responses"][0]["partitions"][0]["records"] == b""
    assert time.monotonic() - begun >= 0.25
    assert client.receive()["api_keys"]
    assert client.receive()["groups"] == []


def test_an_append_wakes_a_long_poll(broker: RunningBroker, client: Client) -> None:
    other = broker.connect()
    other.send_fetch("t", 0, wait_ms=9000)
    client.produce("t", batch([b"a"]))
    begun = time.monotonic()
    assert len(headers(other.receive()["responses"][0]["partitions"][0]["records"])) == 1
    assert time.monotonic() - begun < 5
    other.close()


@pytest.mark.parametrize("flush", ["ack", "none"])
def test_a_waiting_consumer_hears_of_a_record_before_its_producer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush: str
) -> None:
    sent: list[int] = []
    send = Connection.send

    def logged(connection: Connection) -> None:
        if connection.outgoing:
            sent.append(connection.sock.getpeername()[1])
        send(connection)

    with RunningBroker(tmp_path / "data", flush=flush) as running:
        producer, *consumers = [running.connect() for _ in range(6)]
        producer.create("t")
        for consumer in consumers:
            consumer.send_fetch("t", 0, wait_ms=9000)
        wait_until(lambda: len(log_of(running).waiters) == len(consumers))
        monkeypatch.setattr(Connection, "send", logged)
        producer.produce("t", batch([b"a"]))
        assert sent[-1] == producer.sock.getsockname()[1]
        assert len(sent) == 1 + len(consumers)
        for client in (producer, *consumers):
            client.close()


def log_of(running: RunningBroker) -> PartitionLog:
    return running.server.broker.catalog.topics["t"].partitions[0]


def test_a_long_poll_waits_for_enough_bytes(broker: RunningBroker, client: Client) -> None:
    one = batch([b"x" * 100])
    client.produce("t", one)
    other = broker.connect()
    other.send_fetch("t", 0, wait_ms=9000, min_bytes=2 * len(one) + 1)
    client.produce("t", one)
    client.produce("t", one)
    assert len(headers(other.receive()["responses"][0]["partitions"][0]["records"])) == 3
    other.close()


def test_requests_may_come_in_pieces_and_many_at_once(client: Client) -> None:
    frame = struct.pack(">hhih", 18, 0, 0, -1)
    data = (struct.pack(">i", len(frame)) + frame) * 3
    for byte in data[:-20]:
        client.sock.sendall(bytes([byte]))
    client.sock.sendall(data[-20:])
    for _ in range(3):
        assert client.frame()[:4] == struct.pack(">i", 0)


def test_a_large_request_is_put_together_from_its_pieces(client: Client) -> None:
    data = batch([os.urandom(900_000)])
    assert client.produce("t", data)["base_offset"] == 0
    assert client.fetch("t", 0)["records"][61:] == data[61:]


def test_a_large_reply_comes_whole_through_a_small_send_buffer(tmp_path: Path) -> None:
    data = batch([os.urandom(900_000)])
    with RunningBroker(tmp_path / "data", send_buffer_bytes=8192) as running:
        client = running.connect()
        client.create("t")
        client.produce("t", data)
        for _ in range(3):
            client.send_fetch("t", 0)
        for _ in range(3):
            answer = client.receive()["responses"][0]["partitions"][0]
            assert answer["records"][61:] == data[61:]
        client.close()


@pytest.mark.parametrize(("asked", "fits"), [(8192, range(8192, 16385)), (-1, range(16385, 1 << 32))])
def test_the_send_buffer_has_the_size_of_the_setting(tmp_path: Path, asked: int, fits: range) -> None:
    with RunningBroker(tmp_path / "data", send_buffer_bytes=asked) as running:
        client = running.connect()
        client.create("t")
        (connection,) = running.server._connections
        assert connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) in fits  # Linux gives double
        client.close()


@pytest.mark.parametrize("size", [-1, 0, 7, (1 << 20) + 1, 2**31 - 1])
def test_a_size_that_cannot_be_closes_the_connection(broker: RunningBroker, client: Client, size: int) -> None:
    other = broker.connect()
    other.sock.sendall(struct.pack(">i", size))
    assert other.is_cut_off()
    assert client.ask("ApiVersions", 0)["error_code"] == 0


@pytest.mark.parametrize("frame", [b"\0\x03\0\x0c\0\0\0\0\xff", struct.pack(">hhihb", 3, 12, 0, -1, 99), bytes(50)])
def test_a_malformed_request_closes_its_connection_only(broker: RunningBroker, client: Client, frame: bytes) -> None:
    other = broker.connect()
    other.send_frame(frame)
    assert other.is_cut_off()
    assert client.ask("ApiVersions", 0)["error_code"] == 0


def test_an_unknown_api_closes_the_connection(broker: RunningBroker) -> None:
    other = broker.connect()
    other.send_frame(struct.pack(">hhih", 999, 0, 0, -1))
    assert other.is_cut_off()


def test_an_unknown_version_of_api_versions_is_answered_in_version_0(client: Client) -> None:
    client.send_frame(struct.pack(">hhih", 18, 99, 7, -1))
    correlation, code, count, key, low, high = struct.unpack(">ihihhh", client.frame())
    assert (correlation, code, count, key, low, high) == (7, 35, 1, 18, 0, 4)


def test_an_unknown_version_of_anything_else_closes_the_connection(broker: RunningBroker) -> None:
    other = broker.connect()
    other.send_frame(struct.pack(">hhih", 3, 99, 0, -1))
    assert other.is_cut_off()


def test_connections_beyond_the_cap_are_closed(broker: RunningBroker, client: Client) -> None:
    others = [broker.connect() for _ in range(4)]
    assert others[-1].ask("ApiVersions", 0)["error_code"] == 0
    assert broker.connect().is_cut_off()
    for other in others:
        other.close()


def test_a_handler_that_fails_takes_down_its_connection_only(
    broker: RunningBroker, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    api, _ = broker.server.handlers[16]
    monkeypatch.setitem(broker.server.handlers, 16, (api, broken))
    other = broker.connect()
    other.send("ListGroups", 2)
    assert other.is_cut_off()
    assert client.ask("ApiVersions", 0)["error_code"] == 0


def test_a_duplicate_is_answered_with_its_first_offset(client: Client) -> None:
    first = batch([b"a", b"b"], producer_id=5, epoch=0, sequence=0)
    assert client.produce("t", first)["base_offset"] == 0
    assert client.produce("t", batch([b"c"], producer_id=5, epoch=0, sequence=2))["base_offset"] == 2
    again = client.produce("t", first)
    assert (again["error_code"], again["base_offset"]) == (0, 0)
    assert client.fetch("t", 0)["high_watermark"] == 3


def test_idempotence_survives_a_restart(tmp_path: Path) -> None:
    with RunningBroker(tmp_path) as broker:
        client = broker.connect()
        client.create("t")
        client.produce("t", batch([b"a", b"b"], producer_id=5, epoch=1, sequence=0))
        given = client.ask("InitProducerId", 1, transactional_id=None, transaction_timeout_ms=0)["producer_id"]
        client.close()
    with RunningBroker(tmp_path) as broker:
        client = broker.connect()
        assert client.produce("t", batch([b"a", b"b"], producer_id=5, epoch=1, sequence=0))["base_offset"] == 0
        assert client.produce("t", batch([b"d"], producer_id=5, epoch=1, sequence=3))["error_code"] == 45
        assert client.produce("t", batch([b"d"], producer_id=5, epoch=0, sequence=2))["error_code"] == 47
        assert client.produce("t", batch([b"c"], producer_id=5, epoch=1, sequence=2))["base_offset"] == 2
        assert client.ask("InitProducerId", 1, transactional_id=None, transaction_timeout_ms=0)["producer_id"] > given
        client.close()


def test_topics_their_ids_settings_and_start_survive_a_restart(tmp_path: Path) -> None:
    def described(client: Client) -> object:
        topics = client.ask("Metadata", 12, topics=None)["topics"]
        configs = client.ask("DescribeConfigs", 1, resources=[{"resource_type": 2, "resource_name": "t"}])
        start = client.fetch("t", 2)["log_start_offset"]
        return sorted((t["name"], t["topic_id"], len(t["partitions"])) for t in topics), configs, start

    with RunningBroker(tmp_path) as broker:
        client = broker.connect()
        client.create("t", retention_ms="123456789")
        client.create("gone")
        client.create("wide", 2)
        client.produce("t", batch([b"a", b"b", b"c"]))
        client.ask("CreatePartitions", 0, topics=[{"name": "wide", "count": 5, "assignments": None}])
        client.ask("DeleteTopics", 3, topic_names=["gone"])
        part = {"partition_index": 0, "offset": 2}
        client.ask("DeleteRecords", 1, topics=[{"name": "t", "partitions": [part]}])
        before = described(client)
        client.close()
    with RunningBroker(tmp_path) as broker:
        client = broker.connect()
        assert described(client) == before
        client.close()
    assert len(list((tmp_path / "logs").iterdir())) == 1, "only one topic has records, and what was deleted is gone"


@pytest.mark.parametrize(
    ("broker_does", "client_wants", "error"), [(True, True, 0), (True, False, 3), (False, True, 3)]
)
def test_an_unknown_topic_is_made_if_the_broker_does_that_and_the_client_wants_it(
    tmp_path: Path, broker_does: bool, client_wants: bool, error: int
) -> None:
    with RunningBroker(tmp_path / "data", auto_create_topics=broker_does, partitions=3) as running:
        client = running.connect()
        answer = client.ask("Metadata", 9, topics=[{"name": "new"}], allow_auto_topic_creation=client_wants)
        assert answer["topics"][0]["error_code"] == error
        assert len(answer["topics"][0]["partitions"]) == (0 if error else 3)
        listed = [topic["name"] for topic in client.ask("Metadata", 9, topics=None)["topics"]]
        assert listed == ([] if error else ["new"])
        client.close()


def test_a_topic_made_again_under_its_name_is_another(client: Client) -> None:
    before = client.ask("Metadata", 12, topics=None)["topics"][0]["topic_id"]
    client.produce("t", batch([b"old"]))
    client.ask("DeleteTopics", 3, topic_names=["t"])
    client.create("t")
    assert client.ask("Metadata", 12, topics=None)["topics"][0]["topic_id"] != before
    assert client.produce("t", batch([b"new"]))["base_offset"] == 0


def test_a_record_without_key_on_a_compacted_topic_is_invalid(client: Client) -> None:
    client.create("c", cleanup_policy="compact")
    assert client.produce("c", batch(key=None))["error_code"] == 87
    assert client.produce("c", batch(key=None, codec=1))["error_code"] == 87
    assert client.produce("c", batch(key=b"k", codec=1))["error_code"] == 0


def test_a_batch_above_max_message_bytes_is_too_large(client: Client) -> None:
    client.create("small", max_message_bytes="200")
    assert client.produce("small", batch([b"x" * 500]))["error_code"] == 10
    assert client.produce("small", batch([b"x" * 50]))["error_code"] == 0


def test_a_full_disk_is_never_acknowledged_and_leaves_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.produce("t", batch([b"a"]))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(segment_module.os, "pwritev", full)
        assert client.produce("t", batch([b"b"]))["error_code"] == 56
    assert client.produce("t", batch([b"c"]))["base_offset"] == 1
    assert [h.base_offset for h in headers(client.fetch("t", 0)["records"])] == [0, 1]


def test_a_failed_sync_stops_the_broker_and_acknowledges_nothing(
    broker: RunningBroker, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(segment_module, "sync_file", failing)
    client.send_produce("t", batch([b"a"]))
    assert client.is_cut_off()
    broker.join()
    assert isinstance(broker.failure, BrokerError)
    assert "Input/output error" in str(broker.failure)


@pytest.mark.parametrize("flush", ["none", "interval"])
def test_without_a_sync_per_answer_records_are_visible_at_once(tmp_path: Path, flush: str) -> None:
    with RunningBroker(tmp_path, flush=flush, flush_interval_ms=10) as broker:
        client = broker.connect()
        client.create("t")
        assert client.produce("t", batch([b"a"]))["base_offset"] == 0
        assert client.fetch("t", 0)["high_watermark"] == 1
        client.close()


def test_retention_runs_by_itself_and_survives_a_restart(tmp_path: Path) -> None:
    with RunningBroker(tmp_path, retention_check_interval_ms=20) as broker:
        client = broker.connect()
        client.create("t", retention_ms="1", internal_segment_bytes="100")
        for _ in range(3):
            client.produce("t", batch([b"a"]))
        while client.fetch("t", 3)["log_start_offset"] < 3:
            time.sleep(0.01)
        assert client.fetch("t", 0)["error_code"] == 1
        client.close()
    with RunningBroker(tmp_path) as broker:
        client = broker.connect()
        assert client.produce("t", batch([b"b"], timestamps=[2**40]))["base_offset"] == 3
        client.close()


def test_an_old_timestamp_ahead_of_the_clock_is_refused(client: Client) -> None:
    assert client.produce("t", batch(timestamps=[2**42]))["error_code"] == 32


def test_a_client_that_reads_nothing_is_not_read_from_either(tmp_path: Path) -> None:
    with RunningBroker(tmp_path) as broker:
        client, greedy = broker.connect(), broker.connect()
        client.create("t")
        client.produce("t", batch([os.urandom(900_000)]))
        for _ in range(500):
            greedy.send_fetch("t", 0)
        wait_until(lambda: unsent(broker) >= PENDING_BYTES_MAX)
        assert client.ask("ApiVersions", 0)["error_code"] == 0
        assert unsent(broker) < PENDING_BYTES_MAX + (4 << 20), "requests beyond the limit wait unread"
        for _ in range(500):
            assert len(greedy.receive()["responses"][0]["partitions"][0]["records"]) > 900_000
        client.close()
        greedy.close()


def unsent(broker: RunningBroker) -> int:
    return max(connection.unsent_bytes for connection in set(broker.server._connections))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def test_records_without_the_catalogue_are_not_taken_for_rubbish(tmp_path: Path) -> None:
    with RunningBroker(tmp_path) as broker:
        client = broker.connect()
        client.create("t")
        client.produce("t", batch())
        client.close()
    (tmp_path / "catalog.journal").unlink()
    with pytest.raises(CorruptLog, match=r"catalog\.journal is missing"):
        RunningBroker(tmp_path)
    assert len(list(tmp_path.glob("logs/*/0/*.log"))) == 1


def test_a_slip_of_the_keyboard_does_not_make_a_billion_partitions(client: Client) -> None:
    wanted = {"name": "wide", "num_partitions": 10**9, "replication_factor": 1}
    assert client.ask("CreateTopics", 4, topics=[wanted])["topics"][0]["error_code"] == 44
    more = {"name": "t", "count": 10**9, "assignments": None}
    assert client.ask("CreatePartitions", 1, topics=[more])["results"][0]["error_code"] == 44


def test_damaged_records_are_an_error_to_whoever_looks_for_them(tmp_path: Path) -> None:
    with RunningBroker(tmp_path) as broker:
        client = broker.connect()
        client.create("t")
        for _ in range(3):
            client.produce("t", batch([b"a"]))
        client.close()
    (path,) = tmp_path.glob("logs/*/0/*.log")
    data = bytearray(path.read_bytes())
    data[8:12] = bytes(4)  # a length that no batch has
    path.write_bytes(data)
    for index in tmp_path.glob("logs/*/0/*.index"):
        index.unlink()
    with RunningBroker(tmp_path) as broker:
        client = broker.connect()
        assert client.fetch("t", 0)["error_code"] == 2
        parts = [{"partition_index": 0, "current_leader_epoch": -1, "timestamp": 5}]
        answer = client.ask(
            "ListOffsets", 4, replica_id=-1, isolation_level=0, topics=[{"name": "t", "partitions": parts}]
        )
        assert answer["topics"][0]["partitions"][0]["error_code"] == 2
        client.close()
