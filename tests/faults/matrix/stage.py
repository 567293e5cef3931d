"""What a cell of the matrix is made of: numbers that go in, services, and all that a fault may break."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ottla import RegistryClient, Settings
from ottla.kafka.producer import Producer
from ottla.serde import Serializer
from ottla.testing import Broker, EmbeddedRegistry
from tests.faults.matrix.service import Setup, events_of
from tests.servers.postgres import Postgres

KEYS = 40
PATIENCE_S = 120.0


class Given:
    """A source topic that is being written to, until `finish`."""

    def __init__(self, settings: Settings, setup: Setup, pause_s: float) -> None:
        self._kind: Any = events_of(setup.source, setup.sink)[0]
        self._topic = setup.source
        self._pause_s = pause_s
        self._producer = Producer(settings.kafka)
        self._serializer = Serializer(RegistryClient(settings.registry.url))
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        # The first asks the registry; a fault may take that away.
        self._serializer.encode(self._kind("", 0), self._topic)
        self._thread.start()

    @property
    def count(self) -> int:
        return sum(map(len, list(self.numbers.values())))

    def finish(self) -> None:
        self._enough.set()
        self._thread.join(PATIENCE_S)
        assert self._producer.close(PATIENCE_S) == 0, "not everything that was given was acknowledged"

    def _write(self) -> None:
        chance, number = random.Random(7), 0
        while not self._enough.wait(self._pause_s):
            for _ in range(5):
                key = f"k-{chance.randrange(KEYS)}"
                value = self._serializer.encode(self._kind(key, number), self._topic)
                self._producer.send(self._topic, value, key=key.encode())
                self.numbers[key].append(number)
                number += 1


class Services:
    """Members of one group, each a process."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        self._setup = setup
        self._folder = folder
        self._started = 0
        self.running: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        self._started += 1
        log = (self._folder / f"service-{self._started}.log").open("w")
        command = [sys.executable, "-m", "tests.faults.matrix.service", json.dumps(msgspec.to_builtins(self._setup))]
        with log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n", (self._folder / f"service-{self._started}.log").read_text()

    def kill(self) -> None:
        self._end(self.running.pop(0), kill=True)

    def stop(self) -> None:
        process = self.running.pop(0)
        process.terminate()
        assert process.wait(30) == 0
        self._end(process)

    def close(self) -> None:
        while self.running:
            self.kill()

    @staticmethod
    def _end(process: subprocess.Popen[str], *, kill: bool = False) -> None:
        if kill:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


class Stage:
    """Everything a fault may break."""

    def __init__(
        self,
        *,
        broker: Broker,
        registry: EmbeddedRegistry,
        database: Postgres | None,
        services: Services,
        given: Given,
        slow: Path,
        taken: Callable[[], int],
    ) -> None:
        self.broker, self.registry, self._database = broker, registry, database
        self.services, self.given, self.slow, self.taken = services, given, slow, taken

    @property
    def database(self) -> Postgres:
        assert self._database is not None, "the cell has a server of its own"
        return self._database

    def go_on(self, more: int = 100) -> None:
        """Waits until so many further results are there: the service works (again)."""
        target, deadline = self.taken() + more, time.monotonic() + PATIENCE_S
        while self.taken() < target:
            assert time.monotonic() < deadline, f"nothing came out any more after {self.taken()} of {self.given.count}"
            time.sleep(0.05)
