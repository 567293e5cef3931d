"""One finished run of the demo for all tests that look at what it left behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.demo.orders_file import write_orders
from tests.demo.running import RunningDemo


@dataclass(frozen=True)
class FinishedDemo:
    """What a run with `--exit` on the embedded broker left behind."""

    data: Path
    orders: Path
    status: int
    summary: dict[str, Any]


@pytest.fixture(scope="session")
def orders_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sample days and some: more than 300 orders."""
    return write_orders(tmp_path_factory.mktemp("orders") / "orders.csv", copies=3)


@pytest.fixture(scope="session")
def finished_demo(tmp_path_factory: pytest.TempPathFactory, orders_file: Path) -> Iterator[FinishedDemo]:
    """The demo, run to its end. Do not change its folder: other tests look at it too."""
    data = tmp_path_factory.mktemp("demo")
    with RunningDemo(data, "--exit", "--orders", str(orders_file)) as demo:
        status, summary = demo.finish()
        yield FinishedDemo(data, orders_file, status, summary)
