"""What goes wrong, once per round. Each function returns when whatever it broke is there again."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.faults.matrix.stage import PATIENCE_S, Stage

Fault = Callable[[Stage], None]


def service_is_killed(stage: Stage) -> None:
    stage.services.kill()
    stage.services.start()


def service_is_restarted(stage: Stage) -> None:
    stage.services.stop()
    stage.services.start()


def members_come_and_go(stage: Stage) -> None:
    stage.services.start()
    stage.services.start()
    stage.services.stop()
    stage.services.stop()


def broker_is_killed(stage: Stage) -> None:
    stage.broker.kill()
    stage.broker.start()


def connections_are_cut(stage: Stage) -> None:
    for _ in range(5):
        stage.broker.faults.kill_connections()
        time.sleep(0.1)  # so that some are open again


def handler_is_slow(stage: Stage) -> None:
    """For longer than max.poll.interval. The others go on meanwhile; so does the group, if it is not told."""
    stage.slow.touch()
    deadline = time.monotonic() + PATIENCE_S
    while stage.slow.exists():
        assert time.monotonic() < deadline, "no handler was slow"
        time.sleep(0.02)
    time.sleep(8)  # until it is over


def registry_is_away(stage: Stage) -> None:
    """While a service starts, which knows no schema yet."""
    stage.registry.kill()
    stage.services.kill()
    stage.services.start()
    time.sleep(1)  # for an outage, not a blink
    stage.registry.start()


def database_is_away(stage: Stage) -> None:
    stage.database.stop()
    time.sleep(1)
    stage.database.start()


FAULTS: list[Fault] = [
    service_is_killed,
    service_is_restarted,
    members_come_and_go,
    broker_is_killed,
    connections_are_cut,
    handler_is_slow,
    registry_is_away,
    database_is_away,
]
