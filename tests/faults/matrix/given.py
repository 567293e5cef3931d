"""Numbers that go in, while everything else breaks."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from ottla import RegistryClient, Settings
from ottla.kafka.producer import Producer
from ottla.serde import Serializer
from tests.faults.matrix.service import Setup, events_of

KEYS = 40
AT_ONCE = 10
PAUSE_S = 0.4
BURST = 100
AHEAD = 150
"""So many may be on their way besides a burst: enough for a fault to hit, and what a slow machine handles soon."""


class Given:
    """A source topic that is being written to, until `finish`. Whoever closes the producer asks whether all arrived.

    Args:
        taken: How many have come out so far.
    """

    def __init__(self, settings: Settings, setup: Setup, producer: Producer, taken: Callable[[], int]) -> None:
        self._kind: Any = events_of(setup.source, setup.sink)[0]
        self._topic = setup.source
        self._taken = taken
        self._producer = producer
        self._serializer = Serializer(RegistryClient(settings.registry.url))
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self.count = 0
        self._enough = False
        self._bursts = 0
        self._pausing = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._write, daemon=True)
        # The first asks the registry; a fault may take that away.
        self._serializer.encode(self._kind("", 0), self._topic)
        self._thread.start()

    def burst(self) -> None:
        """Many numbers now, so that what strikes next finds much in hand."""
        with self._wake:
            self._bursts += 1
            self._wake.notify()

    def pause(self) -> None:
        """Nothing more until `go_on`."""
        self._pausing = True

    def go_on(self) -> None:
        self._pausing = False

    def finish(self) -> None:
        with self._wake:
            self._enough = True
            self._wake.notify()
        self._thread.join()

    def _write(self) -> None:
        chance = random.Random(7)
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._enough or self._bursts, PAUSE_S)
                if self._enough:
                    return
                bursts, self._bursts = self._bursts, 0
            full = self._pausing or self.count - self._taken() > AHEAD
            for _ in range(BURST * bursts or AT_ONCE * (not full)):
                key = f"k-{chance.randrange(KEYS)}"
                value = self._serializer.encode(self._kind(key, self.count), self._topic)
                self._producer.send(self._topic, value, key=key.encode())
                self.numbers[key].append(self.count)
                self.count += 1
