"""Requests that no client would send: the broker neither falls nor grows nor hangs, and goes on serving.

Each API gets requests that are right in form and made up in content, the same with bytes changed, and bytes that are
anything. A handler that fails with an exception counts as a fall, though the broker survives it. OTTLA_FUZZ_TIMES=N
tries N times as many (`make soak`).
"""

from __future__ import annotations

import os
import random
import socket
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottla.broker.api.table import HANDLERS
from ottla.broker.wire.compiler import reader
from ottla.broker.wire.primitives import MalformedMessage
from ottla.broker.wire.schema import Api
from tests.broker.batches import batch
from tests.broker.messages import requests
from tests.broker.running import PATIENCE_S, Client, RunningBroker

TIMES = int(os.environ.get("OTTLA_FUZZ_TIMES", "1"))
APIS = {api.name: api for api, _ in HANDLERS.values()}
FUZZ = {"deadline": None, "suppress_health_check": list(HealthCheck)}
REFUSALS = (MalformedMessage, IndexError, struct.error, UnicodeDecodeError)  # what a connection takes for malformed


# --- the decoder ---


def decode(api: Api, version: int, data: bytes) -> None:
    with suppress(*REFUSALS):
        reader(api.request, version, api.is_flexible(version))(memoryview(data), 0)


@pytest.mark.parametrize("name", APIS)
@settings(max_examples=10 * TIMES, **FUZZ)  # type: ignore[arg-type]
@given(data=st.data())
def test_the_decoder_reads_or_refuses_whatever_comes(name: str, data: st.DataObject) -> None:
    api = APIS[name]
    version, body = data.draw(requests(api))
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    decode(api, version, bytes(changed))
    decode(api, version, body[: data.draw(st.integers(0, len(body)))])
    decode(api, version, data.draw(st.binary(max_size=60)))


@pytest.mark.parametrize("name", APIS)
def test_the_decoder_uses_memory_for_what_is_there_and_not_for_what_is_claimed(name: str) -> None:
    api = APIS[name]
    low, high = api.versions
    huge = (b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff\x07", b"\x00\x0f\xff\xff", b"\xff\xff\xff\xff")
    generator = random.Random(name)
    tracemalloc.start()
    try:
        for version in range(low, high + 1):
            for _ in range(15):
                lead = generator.randbytes(generator.randrange(12)) if generator.random() < 0.5 else b""
                decode(api, version, lead + generator.choice(huge) * generator.randrange(1, 30))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20  # functions that are generated on first use included


# --- the handlers ---


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """A broker in a thread, with a topic and a compacted one."""
    folder = tmp_path_factory.mktemp("fuzz")
    with RunningBroker(folder, flush="none", auto_create_topics=False) as running:
        with closing(running.connect()) as client:
            policy = {"name": "cleanup.policy", "value": "compact"}
            topics = [
                {"name": "t", "num_partitions": 2, "replication_factor": 1},
                {"name": "u", "num_partitions": 1, "replication_factor": 1, "configs": [policy]},
            ]
            client.ask("CreateTopics", 5, topics=topics, timeout_ms=1000)
        yield running
        assert running.failure is None


def send(broker: RunningBroker, api: Api, version: int, body: bytes) -> None:
    """Sends a request, and waits for what becomes of it, but not for a long poll."""
    head = struct.pack(">hhih", api.key, version, 7, 4) + b"fuzz" + (b"\0" if api.is_flexible(version) else b"")
    frame = head + body
    with closing(broker.connect()) as client:
        client.sock.settimeout(0.02)
        with suppress(TimeoutError, ConnectionError):
            client.sock.sendall(struct.pack(">i", len(frame)) + frame)
            client.sock.recv(1 << 16)


def assert_well(broker: RunningBroker) -> None:
    assert broker.server.broker.metrics.failed_requests == 0, "a handler failed: see the log"
    with closing(broker.connect()) as client:
        assert client.ask("ApiVersions", 3, client_software_name="fuzz", client_software_version="1")["error_code"] == 0


@pytest.mark.parametrize("name", APIS)
def test_a_handler_answers_or_refuses_whatever_is_asked(broker: RunningBroker, name: str) -> None:
    @settings(max_examples=10 * TIMES, **FUZZ)  # type: ignore[arg-type]
    @given(request=requests(APIS[name]))
    def ask(request: tuple[int, bytes]) -> None:
        send(broker, APIS[name], *request)
        assert_well(broker)

    ask()


def test_what_was_accepted_is_read_back_after_a_restart(tmp_path: Path) -> None:
    """Batches with odd contents that the broker took must not keep it from starting again."""
    rounds = 60 * TIMES
    with RunningBroker(tmp_path, flush="none", auto_create_topics=False) as running:
        with closing(running.connect()) as client:
            client.ask(
                "CreateTopics", 5, topics=[{"name": "t", "num_partitions": 2, "replication_factor": 1}], timeout_ms=1000
            )

        @settings(max_examples=rounds, **FUZZ)  # type: ignore[arg-type]
        @given(request=requests(APIS["Produce"]))
        def produce(request: tuple[int, bytes]) -> None:
            send(running, APIS["Produce"], *request)

        produce()
        assert_well(running)
    with RunningBroker(tmp_path, flush="none") as again:
        assert_well(again)


# --- frames ---


def test_frames_of_any_kind_are_read_or_cut_off(broker: RunningBroker) -> None:
    generator = random.Random(4)
    for _ in range(100 * TIMES):
        size = generator.choice([-1, 0, 3, 8, 100, 2**31 - 1, generator.randrange(-(2**31), 2**31)])
        data = struct.pack(">i", size) + generator.randbytes(generator.randrange(60))
        with closing(broker.connect()) as client, suppress(ConnectionError):
            for at in range(0, len(data), 7):
                client.sock.sendall(data[at : at + 7])
    assert_well(broker)


# --- memory of the whole process ---


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A broker in a process that may not have more than 700 MB of addresses: running out of it would be seen."""
    limit = 700 << 20
    program = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
from ottla.broker.__main__ import main
sys.exit(main(["--data", {str(tmp_path)!r}, "--port", "0"]))
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process, int(process.stdout.readline().rpartition(":")[2])
    process.terminate()
    process.wait(PATIENCE_S)


def frame(api: Api, version: int, body: bytes) -> bytes:
    head = struct.pack(">hhih", api.key, version, 1, 4) + b"fuzz" + (b"\0" if api.is_flexible(version) else b"")
    return struct.pack(">i", len(head) + len(body)) + head + body


def test_hostile_requests_do_not_make_the_broker_grow(limited: tuple[subprocess.Popen[str], int]) -> None:
    process, port = limited
    metadata, produce = APIS["Metadata"], APIS["Produce"]
    many = 12 << 20
    hostile = [
        # Millions of names of no length: each takes two bytes here and two hundred as an object.
        frame(metadata, 9, b"\x81\x80\x80\x06" + b"\1\0" * many),
        # An array that claims to have more elements than the request has bytes.
        frame(metadata, 1, b"\x7f\xff\xff\xff"),
        frame(produce, 3, b"\xff\xff" + struct.pack(">hii", -1, 1, 2**31 - 1)),
        # Lengths that claim 100 MB, with nothing behind them, from many connections.
        *[struct.pack(">i", 100 << 20) + b"\0\3\0\1"] * 50,
    ]
    opened = []
    for data in hostile:
        sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        with suppress(ConnectionError):
            sock.sendall(data)
        opened.append(sock)
    with closing(Client(port)) as client:
        assert client.ask("ApiVersions", 0)["error_code"] == 0
    for sock in opened:
        sock.close()
    assert process.poll() is None
    assert psutil.Process(process.pid).memory_info().rss < 200 << 20
    with closing(Client(port)) as client:
        client.ask(
            "CreateTopics", 5, topics=[{"name": "t", "num_partitions": 1, "replication_factor": 1}], timeout_ms=9
        )
        data = {"name": "t", "partition_data": [{"index": 0, "records": batch([b"v"])}]}
        answer = client.ask("Produce", 9, acks=-1, timeout_ms=1000, topic_data=[data])
        assert answer["responses"][0]["partition_responses"][0]["error_code"] == 0


def test_who_announces_much_and_sends_nothing_does_not_keep_others_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ottla.broker.security.memory.STALL_SECONDS", 0.1)
    with RunningBroker(tmp_path, queued_requests_max_bytes=1 << 20, auto_create_topics=False) as running:
        silent = running.connect()
        silent.sock.sendall(struct.pack(">i", 1 << 20) + b"\0\3\0\1")
        with closing(running.connect()) as client, closing(silent):
            body = (
                APIS["Metadata"],
                1,
                struct.pack(">i", 20_000) + b"\0\x20" + b"".join(b"%032d\0\x20" % n for n in range(20_000))[:-2],
            )
            whole = frame(*body)
            client.sock.sendall(whole[: 1 << 18])
            client.sock.sendall(whole[1 << 18 :])
            client.sent.append(("Metadata", 1))
            client.count += 2
            assert client.receive()["brokers"]
            assert silent.sock.recv(1) == b""
