"""One cell of the matrix: a promise, a service of two members that gives it, and whether it was kept."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ottla import RegistryClient, Settings
from ottla.serde import Deserializer
from tests.faults.matrix import effects
from tests.faults.matrix.checker import Findings, taken_from
from tests.faults.matrix.given import Given
from tests.faults.matrix.nursery import Child, Nursery
from tests.faults.matrix.progress import Progress
from tests.faults.matrix.service import Setup


class Promise(NamedTuple):
    """What a cell is about. `flaw` is what its service does wrong on purpose."""

    guarantee: str
    order: str
    flaw: str = ""

    @property
    def name(self) -> str:
        return "-".join(filter(None, self))


class Services:
    """Members of one group, each a process."""

    def __init__(self, setup: Setup, folder: Path, nursery: Nursery) -> None:
        self._setup, self._folder, self._nursery = setup, folder, nursery
        self._started = 0
        self.running: list[Child] = []
        self._leaving: list[Child] = []

    def begin(self) -> None:
        """Starts one; `wait_until_started` waits for it."""
        self._started += 1
        self.running.append(self._nursery.start(self._setup, self._folder / f"service-{self._started}.log"))

    def wait_until_started(self) -> None:
        for child in self.running:
            child.wait_until_started()

    def kill(self) -> None:
        """Kills the oldest."""
        child = self.running.pop(0)
        child.signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, f"it had ended; its log: {child.log.read_text()}"

    def ask_to_stop(self) -> None:
        """Asks the oldest to end; `wait_until_stopped` waits for it."""
        child = self.running.pop(0)
        child.signal(signal.SIGTERM)
        self._leaving.append(child)

    def wait_until_stopped(self) -> None:
        while self._leaving:
            child = self._leaving.pop()
            status = child.wait()
            assert status == 0, f"it ended with status {status}; its log: {child.log.read_text()}"

    def say_where(self) -> None:
        """What their threads are at goes to their logs."""
        for child in (*self.running, *self._leaving):
            child.signal(signal.SIGUSR1)
        time.sleep(1)

    def close(self) -> None:
        for child in (*self.running, *self._leaving):
            child.signal(signal.SIGKILL)
            child.wait()
        self.running = []


class Cell:
    """A service and what it is given. What goes wrong with one cell is its own: the others of its stage go on."""

    def __init__(self, promise: Promise, setup: Setup, settings: Settings, services: Services, given: Given) -> None:
        self.promise, self.setup, self.services, self.given = promise, setup, services, given
        self._settings = settings
        self.slow = Path(setup.slow)
        self.failure: Exception | None = None
        self.sink: Findings | None = None
        self.stored: Findings | None = None
        self.dead = 0

    def attempt(self, action: Callable[[Cell], Any]) -> None:
        """Does it, unless something has failed here before."""
        if self.failure is not None:
            return
        try:
            action(self)
        except Exception as failure:
            self.failure = failure
            self.services.say_where()

    def examine(self, progress: Progress) -> None:
        """Reads what came out, also where something failed: what was lost is often why."""
        try:
            self._read(progress)
        except Exception as failure:
            self.failure = self.failure or failure

    def _read(self, progress: Progress) -> None:
        deserializer = Deserializer(RegistryClient(self._settings.registry.url))
        given = dict(self.given.numbers)
        self.sink = Findings(taken_from(self._settings, deserializer, self.setup.sink), given)
        self.stored = Findings(effects.written(self.setup.database), given) if self.setup.database else None
        self.dead = progress.dead_letters(self.setup.source)

    def broken(self) -> list[str]:
        """What was promised and not kept, a line each."""
        assert self.sink is not None, f"not read: {self.failure}"
        found = [f"{self.dead} dead letters: a fault of what stands around a service is no record's"] * bool(self.dead)
        for where, findings in (("topic", self.sink), ("database", self.stored)):
            if findings is not None:
                found += [f"lost in the {where}: {findings.lost}"] * bool(findings.lost)
                found += [f"invented in the {where}: {findings.invented}"] * bool(findings.invented)
                found += [f"out of order in the {where}: {findings.disordered}"] * bool(findings.disordered)
        once = {"exactly_once": self.sink, "inbox": self.stored}.get(self.promise.guarantee)
        if once is not None:
            found += [f"doubled: {once.doubled}"] * bool(once.doubled)
        return found

    def figures(self) -> dict[str, Any]:
        """What the table in the docs is made from."""
        assert self.sink is not None, f"not read: {self.failure}"
        figures = {"given": self.given.count, "dead": self.dead, "topic": _counts(self.sink)}
        if self.stored is not None:
            figures["database"] = _counts(self.stored)
        return figures


def _counts(found: Findings) -> dict[str, int]:
    return {
        "lost": len(found.lost),
        "doubled": len(found.doubled),
        "disordered keys": len(found.disordered),
        "invented": len(found.invented),
    }
