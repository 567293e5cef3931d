"""The stage of a fault, played once for all of its cells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ottla.testing import Broker, EmbeddedRegistry
from tests.faults.matrix.cell import Cell, Promise
from tests.faults.matrix.faults import Fault, connections_are_cut, database_is_away
from tests.faults.matrix.nursery import Nursery
from tests.faults.matrix.play import LONG, PROMISES, ROUNDS, keep, play
from tests.faults.matrix.stage import Stage
from tests.servers.postgres import Postgres


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as opened:
        yield opened


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest,
    killable_server: Broker,
    broker_kind: str,
    nursery: Nursery,
    tmp_path_factory: pytest.TempPathFactory,
    fault: Fault,
) -> dict[Promise, Cell]:
    """The cells of a fault after its rounds: all, or those that were chosen with `-k`."""
    killable_server.start()
    with ExitStack() as stack:
        database: Postgres | None = None
        if fault is database_is_away:
            request.getfixturevalue("postgres")  # skips, or fails in CI, where there is none
            database = stack.enter_context(Postgres())
        stage = Stage(
            broker=killable_server,
            registry=stack.enter_context(EmbeddedRegistry(killable_server.bootstrap_servers)),
            nursery=nursery,
            database=database,
            door=fault is connections_are_cut,
            folder=tmp_path_factory.mktemp(fault.__name__),
        )
        stack.callback(stage.close)
        cells = play(stage, fault, ROUNDS, _chosen(request, fault, broker_kind))
        if LONG:
            keep(cells, fault, ROUNDS, broker_kind, stage.seconds)
        return cells


def _chosen(request: pytest.FixtureRequest, fault: Fault, broker_kind: str) -> list[Promise]:
    def is_chosen(promise: Promise) -> bool:
        wanted = {"fault": fault, "broker_kind": broker_kind, "promise": promise}
        return any(wanted.items() <= _parameters(item).items() for item in request.session.items)

    return [promise for promise in PROMISES if is_chosen(promise)]


def _parameters(item: pytest.Item) -> dict[str, Any]:
    return dict(item.callspec.params) if hasattr(item, "callspec") else {}


@pytest.fixture
def cell(killable_broker: Broker, played: dict[Promise, Cell], promise: Promise) -> Cell:
    return played[promise]
