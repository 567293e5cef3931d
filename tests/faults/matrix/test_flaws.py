"""The matrix can fail: services that break their promise on purpose are found out, every kind of cell."""

from __future__ import annotations

import pytest

from ottla.testing import Broker, EmbeddedRegistry
from tests.faults.matrix.cell import Cell, Promise
from tests.faults.matrix.faults import service_is_killed
from tests.faults.matrix.flaws import BURIES, CARELESS, FORGETS, INVENTS
from tests.faults.matrix.nursery import Nursery
from tests.faults.matrix.play import PROMISES, play
from tests.faults.matrix.stage import Stage

FORGETFUL = [promise._replace(flaw=FORGETS) for promise in PROMISES]
CARELESS_ONES = [promise._replace(flaw=CARELESS) for promise in PROMISES]
INVENTIVE = Promise("at_least_once", "per_partition", INVENTS)
BURYING = Promise("at_least_once", "per_partition", BURIES)
WITHOUT = {"at_least_once": "lost in the topic", "exactly_once": "doubled", "inbox": "doubled"}

pytestmark = [
    pytest.mark.parametrize("broker_kind", ["embedded"], indirect=True, scope="session"),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def flawed(
    killable_server: Broker, broker_kind: str, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> dict[Promise, Cell]:
    """Services with a flaw each, one member, killed once."""
    killable_server.start()
    with EmbeddedRegistry(killable_server.bootstrap_servers) as registry:
        folder = tmp_path_factory.mktemp("flaws")
        stage = Stage(
            broker=killable_server, registry=registry, nursery=nursery, database=None, door=False, folder=folder
        )
        try:
            promises = [*FORGETFUL, *CARELESS_ONES, INVENTIVE, BURYING]
            return play(stage, service_is_killed, 1, promises, members=1)
        finally:
            stage.close()


def broken(cell: Cell) -> set[str]:
    # One that loses numbers may also have failed before its end: no more is given to a service that stays behind.
    return {line.split(":")[0] for line in cell.broken()}


@pytest.mark.parametrize("promise", FORGETFUL, ids=lambda promise: promise.name)
def test_a_service_that_forgets_what_its_guarantee_needs_is_found_out(
    flawed: dict[Promise, Cell], promise: Promise
) -> None:
    assert WITHOUT[promise.guarantee] in broken(flawed[promise])


@pytest.mark.parametrize("promise", CARELESS_ONES, ids=lambda promise: promise.name)
def test_a_service_that_drops_and_swaps_numbers_is_found_out(flawed: dict[Promise, Cell], promise: Promise) -> None:
    found = broken(flawed[promise])
    assert {"lost in the topic", "out of order in the topic"} <= found
    if promise.guarantee == "inbox":
        assert "lost in the database" in found


def test_a_service_that_publishes_what_it_was_not_given_is_found_out(flawed: dict[Promise, Cell]) -> None:
    assert "invented in the topic" in broken(flawed[INVENTIVE])


def test_a_service_that_gives_good_records_up_is_found_out(flawed: dict[Promise, Cell]) -> None:
    assert flawed[BURYING].dead > 0
    assert any("dead letters" in line for line in flawed[BURYING].broken())
