"""Plays a fault round by round, and says of each cell what became of it."""

from __future__ import annotations

import os
import random
import time
from typing import Any

import pytest

from tests.faults.matrix import results
from tests.faults.matrix.cell import Cell, Promise
from tests.faults.matrix.faults import Fault
from tests.faults.matrix.stage import Stage

ROUNDS = int(os.environ.get("OTTLA_ROUNDS", "2"))
LONG = ROUNDS > 2
GUARANTEES = ("at_least_once", "exactly_once", "inbox")
ORDERS = ("per_partition", "per_key", "retry_topics")
PROMISES = [Promise(guarantee, order) for guarantee in GUARANTEES for order in ORDERS]


def play(stage: Stage, fault: Fault, rounds: int, promises: list[Promise], members: int = 2) -> dict[Promise, Cell]:
    """The cells, verified or failed. Every second round waits until all has recovered; the others strike before."""
    stage.open(promises, members)
    chance = random.Random()
    for number in range(rounds):
        stage.burst()
        time.sleep(chance.uniform(0, 0.3))  # not for luck: so that it strikes at every stage of the work
        fault(stage)
        if number % 2:
            stage.catch_up()
        else:
            stage.go_on()
    stage.finish()
    return {cell.promise: cell for cell in stage.cells}


def keep(cells: dict[Promise, Cell], fault: Fault, rounds: int, broker: str, seconds: float) -> None:
    """Puts what a long run found where the docs take it from."""
    for (guarantee, order, _), cell in cells.items():
        if cell.failure is None and cell.sink is not None:
            figures = {"rounds": rounds, "seconds": round(seconds), **cell.figures()}
            results.keep(f"{fault.__name__} {guarantee} {order}", broker, figures)


def check(cell: Cell) -> None:
    """Fails where a promise was not kept, or never could be seen to be."""
    if cell.failure is not None:
        raise AssertionError(f"{cell.promise.name}: {cell.failure}; its folder: {cell.slow.parent}") from cell.failure
    assert cell.broken() == []


def plays_of(faults: list[Fault], in_short_on_kafka: Fault) -> list[Any]:
    """The parameters of a play: broker and fault. The short run has one fault on Apache Kafka."""
    return [
        pytest.param(
            broker,
            fault,
            id=f"{broker}-{fault.__name__}",
            marks=[pytest.mark.timeout(300 + ROUNDS * 60), *([pytest.mark.real_kafka] * (broker == "kafka"))],
        )
        for broker in ("embedded", "kafka")
        for fault in faults
        if LONG or broker == "embedded" or fault is in_short_on_kafka
    ]
