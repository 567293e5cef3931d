"""What goes wrong, once per round, for all cells of a stage. Each function returns when it is mended."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.faults.matrix.cell import Cell
from tests.faults.matrix.progress import PATIENCE_S
from tests.faults.matrix.service import SLOW_S
from tests.faults.matrix.stage import Stage

Fault = Callable[[Stage], None]


def service_is_killed(stage: Stage) -> None:
    stage.kill_members()
    stage.start_members()


def service_is_restarted(stage: Stage) -> None:
    stage.stop_members()
    stage.start_members()


def members_come_and_go(stage: Stage) -> None:
    stage.start_members()
    stage.start_members()
    stage.stop_members()
    stage.stop_members()


def broker_is_killed(stage: Stage) -> None:
    stage.broker.kill()
    stage.broker.start()


def connections_are_cut(stage: Stage) -> None:
    for _ in range(5):
        stage.broker.faults.kill_connections()
        time.sleep(0.1)  # so that some are open again


def handler_is_slow(stage: Stage) -> None:
    """For longer than max.poll.interval. The others go on meanwhile; so does the group, if it is not told."""
    deadline = time.monotonic() + PATIENCE_S

    def wait_until_taken(cell: Cell) -> None:
        while cell.slow.exists():
            assert time.monotonic() < deadline, "no handler was slow"
            time.sleep(0.02)

    stage.each(lambda cell: cell.slow.touch())
    stage.each(wait_until_taken)
    time.sleep(SLOW_S + 0.5)  # until it is over


def registry_is_away(stage: Stage) -> None:
    """While a service starts, which knows no schema yet."""
    stage.registry.kill()
    stage.kill_members()
    stage.start_members()
    time.sleep(1)  # for an outage, not a blink
    stage.registry.start()


def database_is_away(stage: Stage) -> None:
    stage.database.stop()
    time.sleep(1)
    stage.database.start()


OF_SERVICES: list[Fault] = [service_is_killed, service_is_restarted, members_come_and_go, handler_is_slow]
OF_SURROUNDINGS: list[Fault] = [broker_is_killed, connections_are_cut, registry_is_away, database_is_away]
