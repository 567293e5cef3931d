"""When the end of a transaction is told: after what a crash must not undo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ottla.broker.log.control import Marker
from ottla.broker.transactions.coordinator import TransactionCoordinator
from ottla.broker.transactions.transaction import Start

Callback = Callable[[], None]


class Disk:
    """Makes durable what is waiting when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callback] = []

    def durable(self, _journal: object, done: Callback) -> None:
        self.waiting.append(done)

    def sync(self) -> None:
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done()


class Markers:
    def write(self, _one: object, done: Callback) -> None:
        done()

    def start_in(self, _partition: object) -> Start:
        return Start("", 0)

    def settle(self, _register: object) -> None: ...


class Clock:
    def call_later(self, _seconds: float, _callback: Callback) -> None: ...


@pytest.mark.parametrize(("version", "syncs"), [(0, 2), (2, 1)])
def test_where_the_next_transaction_has_the_same_epoch_an_end_is_told_when_its_completion_is_durable(
    tmp_path: Path, version: int, syncs: int
) -> None:
    disk, told, ids = Disk(), list[Any](), iter(range(9))
    coordinator = TransactionCoordinator(
        tmp_path,
        Clock(),
        lambda: 0,
        disk.durable,
        Markers(),
        lambda: next(ids),
        timeout_max_ms=1000,
        expiration_ms=1000,
        check_interval_ms=1000,
    )
    coordinator.initialise("x", 1000, None, lambda *_: None)
    one = coordinator.find("x", 0)
    coordinator.add(one, 0, {("t", 0)}, set(), version)
    disk.sync()
    coordinator.end("x", 0, 0, Marker.COMMIT, version, lambda *answer: told.append(answer))
    needed = 0
    while not told:
        assert disk.waiting, "the end is never told"
        disk.sync()
        needed += 1
    assert needed == syncs
    coordinator.register.journal.close()
