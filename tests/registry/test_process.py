"""The registry as a process on the embedded broker: restarts, kills, brokers that go away, and many clients at once."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from ottla.errors import RegistryRejected, RegistryUnavailable, ServerFailed
from ottla.kafka.admin import Admin
from ottla.registry import RegistryClient
from ottla.settings import KafkaSettings
from ottla.testing import EmbeddedBroker, EmbeddedRegistry
from tests.registry.schema_pairs import field, record

T = TypeVar("T")


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker for this test alone, to be killed at will."""
    with EmbeddedBroker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def own_registry(own_kafka: EmbeddedBroker) -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(own_kafka.bootstrap_servers) as registry:
        yield registry


def schema(number: int) -> str:
    return json.dumps(record(field("a", "int"), name=f"R{number}"))


def until(condition: Callable[[], T], what: str, timeout_s: float = 20.0) -> T:
    """Waits until `condition` gives something true and raises nothing of the registry's."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            found = condition()
        except (RegistryUnavailable, httpx.TransportError):
            pass  # not yet
        else:
            if found:
                return found
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)


def launch(*arguments: str) -> subprocess.Popen[str]:
    """`python -m ottla.registry.server`, as the command line runs it."""
    return subprocess.Popen(
        [sys.executable, "-m", "ottla.registry.server", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_is_registered_is_there_after_a_restart(own_registry: EmbeddedRegistry) -> None:
    client = RegistryClient(own_registry.url)
    ids = [client.register(f"s{number}", schema(number)) for number in range(20)]
    own_registry.restart()
    again = RegistryClient(own_registry.url)
    assert [again.lookup(f"s{number}", schema(number)) for number in range(20)] == ids
    assert [again.register(f"s{number}", schema(number)) for number in range(20)] == ids
    assert again.register("new", schema(20)) == max(ids) + 1


def test_kill_9_during_registrations_loses_no_acknowledged_id_and_reuses_none(own_registry: EmbeddedRegistry) -> None:
    acknowledged: dict[int, str] = {}
    lock = threading.Lock()
    stopping = threading.Event()

    def register(worker: int) -> None:
        client = RegistryClient(own_registry.url, timeout=10)
        number = worker
        while not stopping.is_set():
            try:
                found = client.register(f"s{number}", schema(number))
            except (RegistryUnavailable, RegistryRejected):
                time.sleep(0.01)  # killed just now; the same schema again, as a service would
                continue
            with lock:
                assert found not in acknowledged, f"id {found} was given out twice"
                acknowledged[found] = schema(number)
            number += 4

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(register, worker) for worker in range(4)]
        try:
            for kill in range(1, 4):
                until(lambda want=kill * 40: len(acknowledged) >= want, "registrations go on")  # type: ignore[misc]
                own_registry.kill()
                own_registry.start()
        finally:
            stopping.set()
    for worker in workers:
        worker.result()

    client = RegistryClient(own_registry.url)
    for found, text in acknowledged.items():
        assert json.loads(client.schema(found)) == json.loads(text)
    stored = httpx.get(f"{own_registry.url}/schemas").json()
    assert len({entry["id"] for entry in stored}) == len({entry["schema"] for entry in stored}) == len(stored)


def test_registrations_from_many_threads_give_one_id_per_schema(kafka_registry: EmbeddedRegistry) -> None:
    start = threading.Barrier(16)

    def register(worker: int) -> list[int]:
        client = RegistryClient(kafka_registry.url)
        start.wait()
        return [client.register(f"many-{number}", schema(1000 + number)) for number in range(15)]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(register, range(16)))
    assert all(answer == answers[0] for answer in answers)
    assert len(set(answers[0])) == 15
    client = RegistryClient(kafka_registry.url)
    assert all(client.versions(f"many-{number}") == [1] for number in range(15))


def test_a_schema_larger_than_a_record_is_refused_and_the_next_one_is_taken(kafka_registry: EmbeddedRegistry) -> None:
    client = RegistryClient(kafka_registry.url)
    with pytest.raises(RegistryRejected) as refused:
        client.register("large", json.dumps(record(doc="x" * 1_500_000)))
    assert refused.value.code == 42209
    assert client.register("large", json.dumps(record())) > 0


def test_a_topic_that_was_deleted_is_made_again_and_its_loss_told(
    own_kafka: EmbeddedBroker, own_registry: EmbeddedRegistry
) -> None:
    lost = RegistryClient(own_registry.url).register("s", schema(1))
    Admin(KafkaSettings(bootstrap_servers=own_kafka.bootstrap_servers)).delete_topics(["_schemas"])
    client = RegistryClient(own_registry.url, timeout=10)
    assert until(lambda: client.register("t", schema(2)), "a new topic") > lost
    assert "the log was emptied or replaced" in own_registry.log_tail()


def test_a_broker_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / "broker") as broker:
        broker.kill()
        registry = launch("--port", "0", "--bootstrap-servers", broker.bootstrap_servers)
        assert registry.stdout is not None
        assert registry.stderr is not None
        try:
            waiting = registry.stderr.readline()
            while "waiting for Kafka" not in waiting:
                assert waiting, "it ended instead of waiting"
                waiting = registry.stderr.readline()
            assert f"waiting for Kafka at {broker.bootstrap_servers}" in waiting
            broker.start()
            ready = re.fullmatch(r"registry ready on (http://127\.0\.0\.1:\d+)\n", registry.stdout.readline())
            assert ready is not None
            assert RegistryClient(ready[1]).register("s", '"string"') == 1
        finally:
            registry.kill()
            registry.communicate()


def test_a_registry_without_broker_is_alive_but_not_ready(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    registry = launch("--port", str(port), "--bootstrap-servers", "127.0.0.1:1")
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: httpx.get(f"{url}/health/live").status_code == 200, "the registry listens")
        ready = httpx.get(f"{url}/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "starting")
        with pytest.raises(RegistryUnavailable, match="not ready"):
            RegistryClient(url).register("s", '"string"')
        registry.send_signal(signal.SIGTERM)
        assert registry.wait(5) == 0
    finally:
        registry.kill()
        registry.communicate()


def test_reads_go_on_while_the_broker_is_away_and_writes_when_it_is_back(
    own_kafka: EmbeddedBroker, own_registry: EmbeddedRegistry
) -> None:
    RegistryClient(own_registry.url).register("s", schema(1))
    own_kafka.kill()
    away = RegistryClient(own_registry.url, timeout=10)
    assert json.loads(away.schema(1)) == json.loads(schema(1))
    assert away.register("s", schema(1)) == 1
    with pytest.raises(RegistryUnavailable, match="not acknowledged"):
        away.register("t", schema(2))
    assert httpx.get(f"{own_registry.url}/health/ready").status_code == 503
    own_kafka.start()
    assert until(lambda: away.register("u", schema(3)), "writes work again") == 3  # 2 was tried, and may be stored
    assert until(lambda: away.register("t", schema(2)), "the write that was in doubt is settled") == 2
    assert httpx.get(f"{own_registry.url}/health/ready").status_code == 200


def test_sigterm_ends_it_with_status_0_within_a_second(own_kafka: EmbeddedBroker) -> None:
    registry = launch("--port", "0", "--bootstrap-servers", own_kafka.bootstrap_servers)
    assert registry.stdout is not None
    assert registry.stdout.readline().startswith("registry ready on http://127.0.0.1:")
    asked = time.monotonic()
    registry.send_signal(signal.SIGTERM)
    assert registry.wait(10) == 0
    assert time.monotonic() - asked < 1.0
    registry.communicate()


def test_sigterm_ends_it_within_a_second_also_while_a_write_waits_for_a_dead_broker(own_kafka: EmbeddedBroker) -> None:
    registry = launch("--port", "0", "--bootstrap-servers", own_kafka.bootstrap_servers)
    assert registry.stdout is not None
    url = registry.stdout.readline().removeprefix("registry ready on ").strip()
    own_kafka.kill()
    with ThreadPoolExecutor(1) as pool:
        write = pool.submit(RegistryClient(url, timeout=10).register, "s", '"string"')
        until(lambda: httpx.get(f"{url}/health/ready").status_code == 503, "the write waits")
        asked = time.monotonic()
        registry.send_signal(signal.SIGTERM)
        assert registry.wait(10) == 0
        assert time.monotonic() - asked < 1.0
        with pytest.raises(RegistryUnavailable, match="stopping"):
            write.result()
    registry.communicate()


def test_a_busy_port_is_told_with_the_option_that_changes_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        registry = launch("--port", str(port))
        _, complaint = registry.communicate(timeout=20)
    assert registry.returncode == 1
    assert complaint == (
        f"error: schema registry: port {port} on 127.0.0.1 is already in use by another process. Stop that process, "
        f"or choose another port with --port or registry.url (0 picks a free one).\n"
    )


@pytest.mark.parametrize(
    ("partitions", "policy", "complaint"),
    [
        (3, "compact", "has 3 partitions, but schemas need their order"),
        (1, "delete", "has cleanup.policy=delete, which deletes schemas after a while"),
    ],
)
def test_a_topic_that_would_lose_schemas_is_refused_in_words(
    kafka: EmbeddedBroker, topic_name: str, partitions: int, policy: str, complaint: str
) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)
    Admin(settings).ensure_topics({topic_name: partitions}, config={"cleanup.policy": policy})
    registry = launch("--port", "0", "--topic", topic_name, "--bootstrap-servers", kafka.bootstrap_servers)
    assert registry.stderr is not None
    try:
        assert complaint in registry.stderr.readline()
    finally:
        registry.kill()
        registry.communicate()


def test_an_embedded_registry_that_cannot_listen_fails_with_its_log(kafka: EmbeddedBroker) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        registry = EmbeddedRegistry(kafka.bootstrap_servers, port=taken.getsockname()[1])
        with pytest.raises(ServerFailed, match="already in use"):
            registry.start()
        registry.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="memory is read from Linux's /proc")
def test_it_is_small_and_no_load_makes_it_grow(own_registry: EmbeddedRegistry) -> None:
    """Memory is what the process wrote to: pages of libraries count or not by what else runs on the machine.

    It starts with 30 MB, most of it Python's modules. The first load brings the parsers of three schema languages, a
    stack per thread and 2.5 KB per schema: 10 MB. Then nothing more may come: 3,000 requests that leave 1.5 KB each are
    too many. The bounds leave room for other Pythons and allocators.
    """
    assert _written_mb(own_registry.pid) < 50
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(_load, [own_registry.url] * 8))
        warm = _written_mb(own_registry.pid)
        list(pool.map(_load, [own_registry.url] * 24))
    assert warm < 70
    assert _written_mb(own_registry.pid) - warm < 4


def _written_mb(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_Dirty")) / 1024


def _load(url: str) -> None:
    """120 requests, the same ones each time: registrations, look-ups, refusals, checks, of every schema type."""
    texts = {
        "AVRO": [schema(number) for number in range(10)],
        "JSON": [json.dumps({"type": "object", "properties": {f"p{n}": {"type": "string"}}}) for n in range(10)],
        "PROTOBUF": [f'syntax = "proto3"; message M{number} {{ string a = 1; }}' for number in range(10)],
    }
    with httpx.Client(base_url=url, timeout=30) as client:
        for kind, schemas in texts.items():
            for number, text in enumerate(schemas):
                body = {"schema": text, "schemaType": kind}
                assert client.post(f"/subjects/{kind}-{number}/versions", json=body).status_code == 200
                assert client.post(f"/subjects/{kind}-{number}", json=body).status_code == 200
                assert client.get(f"/subjects/none-{number}/versions").status_code == 404
                path = f"/compatibility/subjects/{kind}-0/versions/latest?verbose=true"
                assert client.post(path, json=body).status_code == 200
