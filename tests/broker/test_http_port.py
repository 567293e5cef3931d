"""The broker's HTTP port: health and metrics from its own loop."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ottla.broker.http_port import MAX_EXCHANGES, TEXT, HttpPort, Page
from ottla.broker.loop import Loop
from ottla.broker.metrics_page import pages
from tests.broker.batches import batch
from tests.broker.running import PATIENCE_S, Client, RunningBroker


class Answer:
    """One request over a socket of its own, to the end of the answer."""

    def __init__(self, port: int, request: bytes) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
            sock.sendall(request)
            data = b""
            while piece := sock.recv(1 << 16):
                data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        self.status = int(head.split()[1]) if head else 0
        self.head = head.decode()
        self.body = body.decode()


def get(port: int, path: str) -> Answer:
    return Answer(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


# --- the port by itself ---


@pytest.fixture
def port() -> Iterator[int]:
    """A loop in a thread that serves a few pages."""
    loop = Loop()
    pages = {
        "/short": lambda: Page(200, TEXT, ["short\n"]),
        "/long": lambda: Page(503, TEXT, (f"{number:01000d}\n" for number in range(5000))),
        "/broken": lambda: Page(200, TEXT, (1 // 0 for _ in [1])),  # type: ignore[misc]
    }
    http = HttpPort(loop, socket.create_server(("127.0.0.1", 0)), pages)
    thread = threading.Thread(target=loop.run)
    thread.start()
    yield http._listener.getsockname()[1]
    loop.post(loop.stop)
    thread.join(PATIENCE_S)
    http.close()
    loop.close()


def test_a_page_is_answered_whole_and_the_connection_closed(port: int) -> None:
    answer = get(port, "/short?anything")
    assert (answer.status, answer.body) == (200, "short\n")
    assert "Connection: close" in answer.head


def test_a_page_of_many_pieces_arrives_in_order(port: int) -> None:
    answer = get(port, "/long")
    assert answer.status == 503
    assert answer.body.split() == [f"{number:01000d}" for number in range(5000)]


def test_head_gets_no_body(port: int) -> None:
    answer = Answer(port, b"HEAD /short HTTP/1.1\r\n\r\n")
    assert (answer.status, answer.body) == (200, "")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404),
        (b"POST /short HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET /short SPDY/3\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000, 431),
    ],
)
def test_whatever_else_is_asked_is_refused(port: int, request_bytes: bytes, status: int) -> None:
    assert Answer(port, request_bytes).status == status


def test_whoever_is_silent_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ottla.broker.http_port.PATIENCE_SECONDS", 0.05)
    assert Answer(port, b"GET /short HTTP/1.1\r\n").status == 0


def test_a_page_that_fails_closes_its_connection_and_no_other(port: int) -> None:
    get(port, "/broken")
    assert get(port, "/short").status == 200


def test_too_many_at_once_are_cut_off_and_room_comes_back(port: int) -> None:
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(MAX_EXCHANGES)]
    assert get_or_closed(port) == 0
    for sock in silent:
        sock.close()
    deadline = time.monotonic() + PATIENCE_S
    while get_or_closed(port) != 200:
        assert time.monotonic() < deadline


def get_or_closed(port: int) -> int:
    try:
        return get(port, "/short").status
    except ConnectionError:
        return 0


# --- the broker's pages ---


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A broker process: its port and the port of its pages."""
    command = [sys.executable, "-m", "ottla.broker", "--data", str(tmp_path), "--port", "0", "--metrics-port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        metrics = re.fullmatch(r"metrics on http://127\.0\.0\.1:(\d+)/metrics\n", process.stdout.readline())
        ready = re.fullmatch(r"broker ready on 127\.0\.0\.1:(\d+)\n", process.stdout.readline())
        assert metrics
        assert ready
        yield int(ready[1]), int(metrics[1])
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def samples(port: int) -> dict[tuple[str, ...], float]:
    """All samples by name and label values. Prometheus' own parser reads the page: it refuses what is malformed."""
    answer = get(port, "/metrics")
    assert answer.status == 200
    assert "text/plain; version=0.0.4" in answer.head
    return {
        (sample.name.removeprefix("ottla_broker_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.body)
        for sample in family.samples
    }


def produce(client: Client, topic: str, values: list[bytes]) -> None:
    data = {"name": topic, "partition_data": [{"index": 0, "records": batch(values)}]}
    client.ask("Produce", 9, acks=-1, timeout_ms=1000, topic_data=[data])


def test_health_is_told(broker: tuple[int, int]) -> None:
    assert get(broker[1], "/health/live").body == "live\n"
    assert get(broker[1], "/health/ready").body == "ready\n"


def test_metrics_count_what_clients_did(broker: tuple[int, int]) -> None:
    port, pages = broker
    with closing(Client(port)) as client:
        topics = [{"name": 'a"b' if fail else "t", "num_partitions": 3, "replication_factor": 1} for fail in (0, 1)]
        client.ask("CreateTopics", 5, topics=topics, timeout_ms=1000)
        produce(client, "t", [b"x" * 10] * 7)
        produce(client, "unknown", [b"x"])
        client.ask("ListGroups", 0)
        found = samples(pages)
    assert found[("requests_total", "Produce")] == 2
    assert found[("request_seconds_count", "Produce")] == 2
    assert found[("request_seconds_bucket", "Produce", "+Inf")] == 2
    assert 0 < found[("request_seconds_sum", "Produce")] < PATIENCE_S
    assert found[("errors_total", "Produce", "UNKNOWN_TOPIC_OR_PARTITION")] == 1
    assert found[("errors_total", "CreateTopics", "INVALID_TOPIC_EXCEPTION")] == 1
    assert found[("produced_records_total",)] == 7
    assert found[("produced_bytes_total",)] == found[("topic_log_bytes", "t")] == len(batch([b"x" * 10] * 7))
    assert found[("topic_partitions", "t")] == 3
    assert found[("topic_log_end_offsets", "t")] == 7
    assert found[("connections",)] == 1
    assert found[("connections_accepted_total",)] == 1
    assert found[("received_bytes_total",)] > found[("produced_bytes_total",)]
    assert found[("sent_bytes_total",)] > 0
    assert found[("fsyncs_total",)] >= 1
    assert found[("fsync_seconds_total",)] > 0


def test_groups_are_counted_by_state(broker: tuple[int, int]) -> None:
    port, pages = broker
    with closing(Client(port)) as client:
        client.ask(
            "JoinGroup",
            1,
            group_id="g",
            session_timeout_ms=6000,
            rebalance_timeout_ms=1000,
            member_id="",
            protocol_type="consumer",
            protocols=[{"name": "range", "metadata": b""}],
        )
        found = samples(pages)
    assert found[("groups", "classic", "CompletingRebalance")] == 1
    assert found[("group_members", "classic", "CompletingRebalance")] == 1


def test_transactions_are_counted_by_state_and_the_oldest_is_timed(broker: tuple[int, int]) -> None:
    port, pages = broker
    with closing(Client(port)) as client:
        topic = {"name": "t", "num_partitions": 1, "replication_factor": 1}
        client.ask("CreateTopics", 5, topics=[topic], timeout_ms=1000)
        for name in ("open", "idle"):
            answer = client.ask("InitProducerId", 4, transactional_id=name, transaction_timeout_ms=60_000)
            if name == "open":
                client.ask(
                    "AddPartitionsToTxn",
                    0,
                    transactional_id=name,
                    producer_id=answer["producer_id"],
                    producer_epoch=answer["producer_epoch"],
                    topics=[{"name": "t", "partitions": [0]}],
                )
        found = samples(pages)
    assert found[("transactions", "Ongoing")] == 1
    assert found[("transactions", "Empty")] == 1
    assert 0 <= found[("oldest_transaction_seconds",)] < PATIENCE_S


def test_requests_that_are_no_requests_are_counted(broker: tuple[int, int]) -> None:
    port, pages = broker
    for junk in (b"\x7f\xff\xff\xff", b"\0\0\0\x08" + b"\x7f" * 8):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(junk)
            assert sock.recv(1) == b""
    assert samples(pages)[("refused_requests_total",)] == 2


def test_a_taken_port_of_the_pages_is_named_with_its_option(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        command = [
            sys.executable,
            "-m",
            "ottla.broker",
            "--data",
            str(tmp_path),
            "--port",
            "0",
            "--metrics-port",
            number,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1
    assert f"port {number}" in done.stderr
    assert "--metrics-port" in done.stderr


# --- the log ---


def test_the_log_in_json_has_the_start_and_each_request_as_objects(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ottla.broker", "--data", str(tmp_path), "--port", "0", "--partitions", "3"]
    command += ["--log-format", "json", "--log-level", "DEBUG"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline().rpartition(":")[2])
    with closing(Client(port)) as client:
        client.ask("ListGroups", 0)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE_S)
    lines = [json.loads(line) for line in err.splitlines()]
    (start,) = [line for line in lines if "settings" in line]
    assert start["level"] == "INFO"
    assert re.fullmatch(r"\d+\.\d+\.\d+", start["version"])
    assert start["settings"]["partitions"] == 3
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", start["time"])
    (request,) = [line for line in lines if line.get("api") == "ListGroups"]
    assert request["level"] == "DEBUG"
    assert request["version"] == 0
    assert "127.0.0.1" in request["message"]


def test_a_broker_whose_disk_failed_is_not_ready(tmp_path: Path) -> None:
    with RunningBroker(tmp_path) as running:
        shown = pages(running.server, "1.2.3")
        assert shown["/health/ready"]().status == 200
        running.server._failure = OSError("the disk is gone")
        assert shown["/health/ready"]().status == 503
        assert shown["/health/live"]().status == 200
        running.server._failure = None
