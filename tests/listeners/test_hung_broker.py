"""A broker that hangs (it holds its connections and does not answer) is noticed by nobody at first."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ottla import App
from ottla.listeners import runner
from ottla.testing import EmbeddedBroker, EmbeddedRegistry
from tests.listeners.harness import World, eventually


@pytest.fixture
def world() -> Iterator[World]:
    with EmbeddedBroker() as broker, EmbeddedRegistry(broker.bootstrap_servers) as registry:
        yield World(broker, registry)


async def test_a_service_stops_in_time_though_its_last_commit_is_never_answered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LEAVE_S", 1.0)
    limits = msgspec.structs.replace(world.settings.listener, commit_interval_s=60.0, drain_timeout_s=1.0)
    app = App(world.group, settings=msgspec.structs.replace(world.settings, listener=limits))
    seen: list[str] = []

    @app.listen(world.Ordered)
    def note(order: Any) -> None:
        seen.append(order.order_id)

    process: Any = world.broker._process
    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: seen)
        os.kill(process.pid, signal.SIGSTOP)
        asked_at = time.monotonic()
    try:
        assert time.monotonic() - asked_at < 10
    finally:
        os.kill(process.pid, signal.SIGCONT)
