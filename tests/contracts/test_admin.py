"""What services and tools ask a cluster, through its accidents."""

from __future__ import annotations

import time

import pytest

from ottla import KafkaSettings
from ottla.errors import OttlaError
from ottla.kafka.admin import Admin
from ottla.testing import Broker

PATIENCE_S = 60.0


@pytest.mark.timeout(180)
def test_offsets_are_read_on_after_a_leader_was_killed_and_has_begun_another_epoch(
    killable_broker: Broker, topic_name: str
) -> None:
    admin = Admin(KafkaSettings(bootstrap_servers=killable_broker.bootstrap_servers))
    admin.create_topic(topic_name, 1)
    wait_for_end(admin, topic_name)
    killable_broker.kill()
    killable_broker.start()
    wait_for_end(admin, topic_name)


def wait_for_end(admin: Admin, topic: str) -> None:
    """Asks where an empty topic ends until it is told: it may have no leader yet."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            assert admin.ends([(topic, 0)]) == {(topic, 0): 0}
            return
        except OttlaError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
