"""A process that is killed comes back to its state, and does not read its changelog from the beginning."""

from __future__ import annotations

import re
import time
from pathlib import Path

from ottla.kafka.admin import Admin
from ottla.kafka.producer import Producer
from ottla.settings import KafkaSettings
from ottla.testing import Broker
from tests.faults.streams.verifier import wrong
from tests.streams.runtime.instances import Instances
from tests.streams.runtime.totals import Setup

KEYS = 10_000
PATIENCE_S = 90.0


def test_a_killed_process_reads_only_what_its_last_commit_may_have_left_out(
    embedded_broker: Broker, topic_name: str, tmp_path: Path
) -> None:
    setup = Setup(
        name=f"app-{topic_name}",
        bootstrap_servers=embedded_broker.bootstrap_servers,
        state_dir="",
        source=f"{topic_name}-in",
        sink=f"{topic_name}-out",
    )
    settings = KafkaSettings(bootstrap_servers=setup.bootstrap_servers)
    admin = Admin(settings)
    admin.ensure_topics({setup.source: 3, setup.sink: 3})
    give(settings, setup.source, KEYS)
    instances = Instances(setup, tmp_path)
    try:
        instances.start(0)
        until_right(settings, setup)
        changelog = sum(admin.end_offsets([f"{setup.name}-totals-changelog"]).values())
        assert changelog >= KEYS
        give(settings, setup.source, 500)
        time.sleep(0.1)  # somewhere in the middle of it
        instances.kill(0)
        give(settings, setup.source, 500)
        instances.start(0)
        until_right(settings, setup)
        instances.stop(0)
    finally:
        instances.close()
    second = (tmp_path / "instance-0-2.log").read_text()
    restored = sum(int(count) for count in re.findall(r"restored (\d+) records", second))
    assert restored <= 500, second
    assert "is damaged" not in second


def give(settings: KafkaSettings, topic: str, count: int) -> None:
    producer = Producer(settings)
    for number in range(count):
        producer.send(topic, b"k-%d 1" % number, key=b"%d" % number)
    assert producer.close(PATIENCE_S) == 0


def until_right(settings: KafkaSettings, setup: Setup) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while faults := wrong(settings, setup.source, setup.sink):
        assert time.monotonic() < deadline, faults[:5]
        time.sleep(0.2)
