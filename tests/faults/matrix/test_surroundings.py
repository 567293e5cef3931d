"""The fault matrix: what a service promises while what it needs is away: broker, connections, registry, database.

Two rounds of every cell; `OTTLA_ROUNDS=20` is the long run, with every cell on Apache Kafka, too (`make soak`).
"""

from __future__ import annotations

import pytest

from tests.faults.matrix.cell import Cell
from tests.faults.matrix.faults import OF_SURROUNDINGS, broker_is_killed
from tests.faults.matrix.play import PROMISES, check, plays_of


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.name)
@pytest.mark.parametrize(
    ("broker_kind", "fault"), plays_of(OF_SURROUNDINGS, broker_is_killed), indirect=["broker_kind"], scope="session"
)
def test_nothing_is_lost_nothing_comes_twice_and_keys_keep_their_order(cell: Cell) -> None:
    check(cell)
