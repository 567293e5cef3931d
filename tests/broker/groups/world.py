"""A coordinator of groups on a clock, a disk and topics that the test moves."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ottla.broker.config import BrokerConfig
from ottla.broker.groups.coordinator import Coordinator
from tests.broker.test_group import ManualClock

EXAMPLES = int(os.environ.get("OTTLA_GROUP_EXAMPLES", "50"))
"""How many histories each stateful test tries: `make soak` sets more."""


@dataclass
class FakeTopic:
    name: str
    id: bytes
    partitions: list[int]


@dataclass
class FakeTopics:
    topics: dict[str, FakeTopic] = field(default_factory=dict)
    by_id: dict[bytes, FakeTopic] = field(default_factory=dict)
    changes: int = 0

    def create(self, name: str, partitions: int) -> None:
        self.changes += 1
        topic = FakeTopic(name, self.changes.to_bytes(16, "big"), list(range(partitions)))
        self.topics[name] = self.by_id[topic.id] = topic

    def grow(self, name: str) -> None:
        self.changes += 1
        partitions = self.topics[name].partitions
        partitions.append(len(partitions))

    def delete(self, name: str) -> None:
        self.changes += 1
        del self.by_id[self.topics.pop(name).id]


class World:
    """The coordinator, restarted at will. Nothing is ever lost that was written: as after kill -9."""

    def __init__(self, **options: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ottla-groups-"))
        self.clock = ManualClock()
        self.topics = FakeTopics()
        self.config = BrokerConfig(**options)
        self.waiting: list[Callable[[], None]] = []  # what is to be done when the disk has written
        self.disk_is_slow = False
        self.coordinator = self._start()

    def _start(self) -> Coordinator:
        return Coordinator(self.config, self.folder, self.clock, self._durable, self.topics)

    def _durable(self, _: object, done: Callable[[], None]) -> None:
        if self.disk_is_slow:
            self.waiting.append(done)
        else:
            done()

    def disk_writes(self) -> None:
        """What waited for the disk goes on, in order."""
        while self.waiting:
            self.waiting.pop(0)()

    def restart(self) -> None:
        """Kills the broker and starts it again: whoever waits for an answer waits for ever, timers are gone."""
        self.waiting.clear()
        self.clock.timers.clear()
        self.coordinator.journal.close()
        self.coordinator = self._start()

    def close(self) -> None:
        self.coordinator.journal.close()
        shutil.rmtree(self.folder)
