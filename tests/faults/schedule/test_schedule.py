"""A service and a broker are killed while scheduled events are published: each comes once, none before its time.

One kill of each; `OTTLA_ROUNDS=20` is the long run, on Apache Kafka too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ottla import RegistryClient
from ottla.kafka.admin import Admin
from ottla.kafka.reader import read_topic
from ottla.kafka.record import Record
from ottla.serde import Deserializer
from ottla.testing import Broker, EmbeddedRegistry
from tests.faults.schedule.service import Setup

ROUNDS = int(os.environ.get("OTTLA_ROUNDS", "1"))
LONG = ROUNDS > 2
COUNT = 600
PATIENCE_S = 90.0


def started(setup: Setup, log: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.faults.schedule.service", json.dumps(msgspec.to_builtins(setup))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log.open("a"), text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "scheduled\n", log.read_text()
    return process


def seen(setup: Setup) -> list[Record]:
    """What readers of committed records see."""
    try:
        return list(read_topic(setup.settings.kafka, setup.topic))
    except Exception:
        return []  # The broker is away, or was a moment ago.


def wait_for(setup: Setup, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(seen(setup)) < count:
        assert time.monotonic() < deadline, f"{len(seen(setup))} of {count} events were published"
        time.sleep(0.1)


@pytest.mark.timeout(120 + ROUNDS * 60)
def test_whatever_is_killed_each_scheduled_event_is_published_once_and_not_before_its_time(
    request: pytest.FixtureRequest, broker_kind: str, topic_name: str, tmp_path: Path
) -> None:
    if broker_kind == "kafka" and not LONG:
        pytest.skip("the long run (make soak) has this on Apache Kafka too")
    broker: Broker = request.getfixturevalue("killable_broker")
    with EmbeddedRegistry(broker.bootstrap_servers) as registry:
        setup = Setup(broker.bootstrap_servers, registry.url, topic_name, f"plans-{topic_name}")
        Admin(setup.settings.kafka).ensure_topics({topic_name: 3})
        setup.count = COUNT
        process = started(setup, tmp_path / "service.log")
        setup.count = 0
        try:
            for number in range(ROUNDS):
                wait_for(setup, 30 + COUNT // 2 * number // ROUNDS)
                process.kill()
                process.wait()
                process = started(setup, tmp_path / "service.log")
            broker.kill()
            broker.start()
            wait_for(setup, COUNT)
            check(setup, Deserializer(RegistryClient(registry.url)))
        finally:
            process.kill()
            process.wait()


def check(setup: Setup, deserializer: Deserializer) -> None:
    """Compares what was published with what was scheduled, as the topics have it."""
    due: dict[int, int] = {}
    for record in read_topic(setup.settings.kafka, f"{setup.name}-scheduled"):
        if record.value is not None:
            due[int((record.key or b"").removeprefix(b"n-"))] = int(dict(record.headers)["ottla-due-ms"] or b"")
    came: list[int] = []
    for record in seen(setup):
        value: Any = deserializer.decode_to_dict(record.value or b"")
        came.append(value["number"])
        assert record.timestamp_ms >= due[value["number"]], "before its time"
    assert sorted(came) == list(range(COUNT)), "lost, or doubled"
