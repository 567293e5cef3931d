"""Three instances of a stream application, killed with -9 at random points, while brokers are killed and restarted and
tasks move: exactly once.

Five kills; `OTTLA_STREAM_KILLS=20` is the long run (`make soak`).
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from ottla.kafka.admin import Admin
from ottla.kafka.producer import Producer
from ottla.settings import KafkaSettings
from ottla.testing import Broker
from tests.faults.streams.evidence import keep
from tests.faults.streams.verifier import lost, wrong, wrong_at_last
from tests.streams.runtime.instances import Instances
from tests.streams.runtime.totals import Setup

KILLS = int(os.environ.get("OTTLA_STREAM_KILLS", "5"))
KEYS = 30
PATIENCE_S = 120.0
BEYOND_REPAIR = (", in order: False", "(beyond)")
"""What waiting does not put right."""


class Input:
    """Ones for random keys, written until `finish`."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._producer = Producer(settings)
        self._topic = topic
        self._enough = threading.Event()
        self.count = 0
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        self._enough.set()
        self._thread.join(PATIENCE_S)
        assert self._producer.close(PATIENCE_S) == 0, "not all of the input was acknowledged"

    def _write(self) -> None:
        chance = random.Random(11)
        while not self._enough.wait(0.005):
            for _ in range(5):
                self._producer.send(self._topic, f"k-{chance.randrange(KEYS)} 1".encode(), key=b"%d" % self.count)
                self.count += 1


@pytest.mark.timeout(200 + KILLS * 30)
@pytest.mark.parametrize("dsl", [False, True] if KILLS > 5 else [False], ids=lambda dsl: "dsl" if dsl else "operators")
def test_three_instances_that_are_killed_lose_nothing_and_do_nothing_twice(
    killable_broker: Broker, topic_name: str, tmp_path: Path, dsl: bool
) -> None:
    check = wrong_at_last if dsl else wrong
    chance = random.Random(3)
    setup = Setup(
        name=f"app-{topic_name}",
        bootstrap_servers=killable_broker.bootstrap_servers,
        state_dir="",
        source=f"{topic_name}-in",
        sink=f"{topic_name}-out",
        standbys=1,
        dsl=dsl,
        properties={"topic.metadata.refresh.interval.ms": 1000},
    )
    settings = KafkaSettings(bootstrap_servers=setup.bootstrap_servers, topic_partitions=3)
    Admin(settings).ensure_topics({setup.source: 3, setup.sink: 3})
    instances, given = Instances(setup, tmp_path), Input(settings, setup.source)

    def come_out() -> int:
        try:
            return sum(Admin(settings, timeout_s=2).end_offsets([setup.sink]).values())
        except Exception:
            return 0  # The broker is away.

    def go_on(more: int = 200) -> None:
        target, deadline = come_out() + more, time.monotonic() + PATIENCE_S
        while come_out() < target:
            assert time.monotonic() < deadline, f"nothing comes out any more\n{instances.logs()}"
            time.sleep(0.05)

    try:
        for number in range(3):
            instances.start(number)
        go_on()
        for kill in range(KILLS):
            time.sleep(chance.random() * 0.3)  # somewhere within a commit interval: what is tested is any point
            number = chance.choice(list(instances.running))
            instances.kill(number)
            if kill % 10 == 2:
                killable_broker.kill()
                killable_broker.start()
            if kill % 10 == 7:
                killable_broker.restart()
            if kill % 5 == 3:
                go_on()  # the others take over before it is back
            if kill % 5 == 4:
                # One leaves in order and comes back: tasks move twice while others run on.
                leaver = next(iter(instances.running))
                instances.stop(leaver)
                instances.start(leaver)
            # Now and then the machine is a new one, without state.
            instances.start(10 + kill if kill % 5 == 1 else number)
            go_on()
        given.finish()
        deadline = time.monotonic() + PATIENCE_S
        while faults := check(settings, setup.source, setup.sink):
            if any(said in fault for fault in faults for said in BEYOND_REPAIR) or time.monotonic() > deadline:
                topics = [*setup.internal_topics, setup.source, setup.sink]
                history = keep(killable_broker, topics, tmp_path)
                pytest.fail(f"{faults}\nwhat happened: {history}, with the instances' logs above it", pytrace=False)
            time.sleep(0.5)
        for number in list(instances.running):
            instances.stop(number)
    finally:
        instances.close()
    assert check(settings, setup.source, setup.sink) == []


def test_at_least_once_an_instance_that_is_killed_loses_nothing(
    embedded_broker: Broker, topic_name: str, tmp_path: Path
) -> None:
    chance = random.Random(5)
    setup = Setup(
        name=f"app-{topic_name}",
        bootstrap_servers=embedded_broker.bootstrap_servers,
        state_dir="",
        source=f"{topic_name}-in",
        sink=f"{topic_name}-out",
        guarantee="at_least_once",
    )
    settings = KafkaSettings(bootstrap_servers=setup.bootstrap_servers, topic_partitions=3)
    Admin(settings).ensure_topics({setup.source: 3, setup.sink: 3})
    instances, given = Instances(setup, tmp_path), Input(settings, setup.source)
    try:
        instances.start(0)
        for _ in range(3):
            come_out = sum(Admin(settings).end_offsets([setup.sink]).values())
            deadline = time.monotonic() + PATIENCE_S
            while sum(Admin(settings).end_offsets([setup.sink]).values()) < come_out + 200:
                assert time.monotonic() < deadline, f"nothing comes out any more\n{instances.logs()}"
                time.sleep(0.05)
            time.sleep(chance.random() * 0.2)
            instances.kill(0)
            instances.start(0)
        given.finish()
        deadline = time.monotonic() + PATIENCE_S
        while faults := lost(settings, setup.source, setup.sink):
            assert time.monotonic() < deadline, f"{faults}\n{instances.logs()}"
            time.sleep(0.2)
        instances.stop(0)
    finally:
        instances.close()
