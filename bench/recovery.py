"""How soon a stream application that was killed with -9 processes again, by the keys in its store.

The store is on disk. The clock runs from the start of the process to the first new result that a reader of committed
records can see; the changelog's records that were read meanwhile are counted.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from tests.streams.runtime.totals import Setup

from bench.commands import note
from bench.report import Bar, Report
from ottla.kafka.admin import Admin
from ottla.kafka.producer import Producer
from ottla.settings import KafkaSettings
from ottla.testing import EmbeddedBroker

ROOT = Path(__file__).parent.parent


def run(options: argparse.Namespace) -> Report:
    keys = options.records
    seconds, restored = [], []
    with tempfile.TemporaryDirectory(prefix="ottla-recovery-") as folder, EmbeddedBroker() as broker:
        setup = Setup(
            name="recovery",
            bootstrap_servers=broker.bootstrap_servers,
            state_dir=f"{folder}/state",
            source="in",
            sink="out",
        )
        settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
        Admin(settings).ensure_topics({setup.source: 3, setup.sink: 3})
        _give(settings, setup.source, keys)
        note(f"filling a store with {keys:,} keys ...")
        process = _start(setup, Path(folder) / "0.log")
        _until(lambda: _committed_end(settings, setup.sink) >= keys)
        for number in range(1, options.runs + 1):
            _give(settings, setup.source, 3_000)
            time.sleep(0.2)  # somewhere in the middle of it
            process.kill()
            process.wait()
            _give(settings, setup.source, 3_000)
            results = Consumer(
                {
                    "bootstrap.servers": broker.bootstrap_servers,
                    "group.id": "bench",
                    "isolation.level": "read_committed",
                    "fetch.queue.backoff.ms": 5,
                }
            )
            results.assign([TopicPartition(setup.sink, p, e) for p, e in _ends(settings, setup.sink).items()])
            log, started = Path(folder) / f"{number}.log", time.perf_counter()
            process = _start(setup, log)
            while results.poll(0.01) is None:
                pass
            seconds.append(time.perf_counter() - started)
            results.close()
            time.sleep(2)
            restored.append(sum(int(one) for one in re.findall(r"restored (\d+) records", log.read_text())))
        process.kill()
        process.wait()
    return Report(
        "recovery",
        [
            Bar("recovery_seconds", seconds, f"s, {keys:,} keys", at_most=3.0),
            Bar("recovery_changelog_share", [one / keys for one in restored], "of the changelog read", at_most=0.05),
        ],
        {"restored_records": restored},
    )


def _give(settings: KafkaSettings, topic: str, count: int) -> None:
    producer = Producer(settings)
    for number in range(count):
        producer.send(topic, b"key-%d 1" % number, key=b"%d" % number)
    producer.close(120)


def _start(setup: Setup, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.streams.runtime.totals", json.dumps(msgspec.to_builtins(setup))]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log.open("w"), cwd=ROOT)


def _ends(settings: KafkaSettings, topic: str) -> dict[int, int]:
    """Where the topic ends, with what is not committed."""
    return {partition: end for (_, partition), end in Admin(settings).end_offsets([topic]).items()}


def _committed_end(settings: KafkaSettings, topic: str) -> int:
    client = AdminClient({"bootstrap.servers": settings.bootstrap_servers})
    asked = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(3)}
    answers = client.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)
    return sum(answer.result().offset for answer in answers.values())


def _until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.2)
