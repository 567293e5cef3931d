"""How the embedded broker bears many connections, and many topics: time, memory and latency.

200 connections: opened at once, then each sends a record of 100 bytes five times a second (acks=all, synced) while
half as many long polls wait; latency is from the request sent to its answer received.
500 topics of 6 partitions: made, described, written to everywhere, read from everywhere, restarted.
"""

from __future__ import annotations

import argparse
import heapq
import selectors
import statistics
import struct
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bench import targets
from bench.commands import note
from bench.report import Bar, Report
from bench.requests import RawConnection, frame, one_record
from ottla.broker.wire.messages.create_topics import CREATE_TOPICS
from ottla.broker.wire.messages.fetch import FETCH
from ottla.broker.wire.messages.metadata import METADATA
from ottla.broker.wire.messages.produce import PRODUCE
from ottla.broker.wire.schema import Message
from ottla.testing import EmbeddedBroker

CONNECTIONS = 200
PER_SECOND = 5  # records of each connection
LOAD_SECONDS = 5.0
TOPICS, PARTITIONS = 500, 6
TOPICS_PER_REQUEST = 50
VALUE = b"v" * 100
Figures = dict[str, list[float]]


def run(options: argparse.Namespace) -> Report:
    figures: Figures = defaultdict(list)
    for number in range(options.runs):
        note(f"capacity: run {number + 1} of {options.runs}")
        with tempfile.TemporaryDirectory(prefix="ottla-bench-", ignore_cleanup_errors=True) as folder:
            with targets.embedded(Path(folder, "connections")) as broker:
                _connections(broker, figures)
            with targets.embedded(Path(folder, "topics")) as broker:
                _topics(broker, figures)
    return Report("capacity", [Bar(name, values, name.rpartition("_")[2]) for name, values in figures.items()])


def _memory_mb(broker: EmbeddedBroker) -> float:
    return float(psutil.Process(broker.pid).memory_info().rss / 1e6)


def _timed(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _create(connection: RawConnection, names: list[str], partitions: int) -> None:
    topics = [{"name": name, "num_partitions": partitions, "replication_factor": 1} for name in names]
    answer = connection.ask(CREATE_TOPICS, 5, topics=topics, timeout_ms=60_000)
    assert all(topic["error_code"] == 0 for topic in answer["topics"]), answer


def _produce_body(topic: str, partitions: int = 1) -> Message:
    data = [{"index": index, "records": one_record(VALUE)} for index in range(partitions)]
    return {"acks": -1, "timeout_ms": 10_000, "topic_data": [{"name": topic, "partition_data": data}]}


def _fetch_body(topic: str, partitions: int, offset: int, wait_ms: int) -> Message:
    parts = [
        {"partition": index, "current_leader_epoch": -1, "fetch_offset": offset, "partition_max_bytes": 1 << 20}
        for index in range(partitions)
    ]
    waiting = {"replica_id": -1, "max_wait_ms": wait_ms, "min_bytes": 1, "max_bytes": 50 << 20, "session_epoch": -1}
    return waiting | {"topics": [{"topic": topic, "partitions": parts}]}


def _connections(broker: EmbeddedBroker, figures: Figures) -> None:
    first = RawConnection(broker.port)
    _create(first, ["load", "quiet"], 6)
    before = _memory_mb(broker)
    opened: list[RawConnection] = []

    def open_all() -> None:
        opened.extend(RawConnection(broker.port) for _ in range(CONNECTIONS))
        for connection in opened:
            connection.sock.sendall(frame(METADATA, 1, {"topics": []}))
        for connection in opened:
            connection.receive(METADATA, 1)

    figures["connections_opened_and_answered_s"].append(_timed(open_all))
    figures["memory_with_connections_mb"].append(_memory_mb(broker))
    figures["memory_each_connection_kb"].append((_memory_mb(broker) - before) * 1000 / CONNECTIONS)
    waiting = [RawConnection(broker.port) for _ in range(CONNECTIONS // 2)]
    for connection in waiting:
        connection.sock.sendall(frame(FETCH, 11, _fetch_body("quiet", 6, 0, 60_000)))
    started, used = time.perf_counter(), psutil.Process(broker.pid).cpu_times()
    latencies = _load(opened)
    seconds, now = time.perf_counter() - started, psutil.Process(broker.pid).cpu_times()
    figures["load_requests_hz"].append(len(latencies) / seconds)
    figures["load_latency_p50_ms"].append(statistics.median(latencies) * 1000)
    figures["load_latency_p99_ms"].append(statistics.quantiles(latencies, n=100)[98] * 1000)
    figures["load_broker_cpu_percent"].append((now.user + now.system - used.user - used.system) / seconds * 100)
    figures["memory_under_load_mb"].append(_memory_mb(broker))
    for connection in (first, *opened, *waiting):
        connection.close()


def _load(connections: list[RawConnection]) -> list[float]:
    """Each connection sends its records evenly, whatever the others do; gives the latency of each, in seconds."""
    selector = selectors.DefaultSelector()
    due: list[tuple[float, int]] = []
    sent: dict[int, deque[float]] = defaultdict(deque)
    latencies: list[float] = []
    begin = time.perf_counter() + 0.1
    for number, connection in enumerate(connections):
        selector.register(connection.sock, selectors.EVENT_READ, number)
        heapq.heappush(due, (begin + number / len(connections) / PER_SECOND, number))
    while due or any(sent.values()):
        while due and due[0][0] <= time.perf_counter():
            at, number = heapq.heappop(due)
            connections[number].sock.sendall(frame(PRODUCE, 7, _produce_body("load")))
            sent[number].append(time.perf_counter())
            if at + 1 / PER_SECOND < begin + LOAD_SECONDS:
                heapq.heappush(due, (at + 1 / PER_SECOND, number))
        wait = max(due[0][0] - time.perf_counter(), 0) if due else None
        for key, _ in selector.select(wait):
            (size,) = struct.unpack(">i", connections[key.data].exactly(4))
            connections[key.data].exactly(size)
            latencies.append(time.perf_counter() - sent[key.data].popleft())
    selector.close()
    return latencies


def _topics(broker: EmbeddedBroker, figures: Figures) -> None:
    names = [f"topic-{number:03d}" for number in range(TOPICS)]
    connection = RawConnection(broker.port)

    def create() -> None:
        for first in range(0, TOPICS, TOPICS_PER_REQUEST):
            _create(connection, names[first : first + TOPICS_PER_REQUEST], PARTITIONS)

    def write_everywhere() -> None:
        for name in names:
            answer = connection.ask(PRODUCE, 7, **_produce_body(name, PARTITIONS))
            assert all(part["error_code"] == 0 for part in answer["responses"][0]["partition_responses"]), answer

    def read_everywhere() -> None:
        for name in names:
            answer = connection.ask(FETCH, 11, **_fetch_body(name, PARTITIONS, 0, 0))
            assert all(len(part["records"]) for part in answer["responses"][0]["partitions"]), name

    figures["topics_created_s"].append(_timed(create))
    figures["memory_with_empty_topics_mb"].append(_memory_mb(broker))
    figures["topics_all_described_s"].append(_timed(lambda: connection.ask(METADATA, 9, topics=None)))
    figures["topics_each_partition_written_s"].append(_timed(write_everywhere))
    figures["topics_each_partition_read_s"].append(_timed(read_everywhere))
    figures["memory_with_topics_mb"].append(_memory_mb(broker))
    connection.close()
    figures["topics_stopped_s"].append(_timed(broker.stop))
    figures["topics_started_again_s"].append(_timed(broker.start))
    figures["memory_after_restart_mb"].append(_memory_mb(broker))
