"""The code of docs/event-sourcing.md, run as it stands there."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest
from fastapi.testclient import TestClient

from tests.listeners.harness import eventually

PAGE = Path(__file__).resolve().parents[2] / "docs" / "event-sourcing.md"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kafka_env: None) -> Iterator[ModuleType]:
    """All of the page's code as one module."""
    monkeypatch.setenv("OTTLA_STREAMS__STATE_DIR", str(tmp_path / "state"))
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "event_sourcing_page.py").write_text("\n".join(blocks), "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield importlib.import_module("event_sourcing_page")
    sys.modules.pop("event_sourcing_page")


async def test_an_order_is_placed_over_http_and_answered_from_state_and_history(page: ModuleType) -> None:
    def asked() -> None:
        with TestClient(page.api) as client:
            placed = client.post("/orders/o-1?total=9.50")
            for _ in range(10):
                if placed.status_code == 201:
                    break
                placed = client.post("/orders/o-1?total=9.50")
            assert placed.json() == {"version": 1}
            assert client.post("/orders/o-1?total=9.50").status_code == 409
            found = client.get("/orders/o-1?at_least=1").json()
            assert (found["version"], Decimal(found["total"]), found["shipped"]) == (1, Decimal("9.50"), False)
            (event,) = client.get("/orders/o-1/history").json()
            assert (event["version"], event["event"]["order_id"]) == (1, "o-1")
            assert client.get("/orders/o-2").status_code == 404

    await asyncio.to_thread(asked)

    def projected() -> list[str]:
        with page.engine.connect() as connection:
            return [row.order_id for row in connection.execute(page.open_orders.select())]

    async with page.reports.running():
        await eventually(lambda: page.reports.health.wrong() == [], what="readiness")
        await eventually(lambda: projected() == ["o-1"], what="the open order")
    page.engine.dispose()
