"""`ottla projection`: what it lists, shows and rebuilds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cli.conftest import Ottla
from tests.listeners.harness import eventually

MODULE = """
import msgspec
from sqlalchemy import BigInteger, Column, MetaData, String, Table, create_engine

from ottla import App, Projected, event

@event("sales", key="customer")
class Sold(msgspec.Struct):
    customer: str
    amount: int

totals = Table(
    "totals", MetaData(), Column("customer", String(64), primary_key=True), Column("amount", BigInteger){more}
)
engine = create_engine("sqlite:///{folder}/reports.db")
app = App("{name}")
customers = app.projection("customers", engine, tables=[totals])

@customers.on
def sold(event: Sold, db: Projected) -> None:
    row = db.get(totals, event.customer)
    db.put(totals, customer=event.customer, amount=(row.amount if row else 0) + event.amount)
"""


async def test_a_projection_is_listed_shown_and_rebuilt(
    ottla: Ottla, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kafka_env: None
) -> None:
    def module(name: str, more: str = "") -> None:
        text = MODULE.format(more=more, folder=tmp_path, name="reports")
        (tmp_path / f"{name}.py").write_text(text, "utf-8")

    monkeypatch.syspath_prepend(str(tmp_path))
    module("sales_reports")
    import importlib

    reports = importlib.import_module("sales_reports")
    folder = ("--app-dir", str(tmp_path))
    (listed,) = ottla("projection", "list", "sales_reports", *folder, "--json").document
    assert (listed["name"], listed["target"]) == ("customers", "sales_reports:customers")
    assert (listed["group"], listed["tables"]) == ("reports-customers", ["totals"])

    async with reports.app.running():
        await reports.app.publish_many([reports.Sold("a", number) for number in range(5)])
        target = ("sales_reports:customers", *folder)

        def status() -> bool:
            shown = ottla("projection", "status", *target, "--json")
            return shown.status == 0 and bool(shown.document["generation"] == 1 and shown.document["lag"] == 0)

        await eventually(status, what="the events in the tables")
        done = await asyncio.to_thread(ottla, "projection", "rebuild", *target, "--json")
        assert done.document == {
            "name": "customers", "generation": 2, "resumed": False, "events": 5, "dead_letters": 0,
        }  # fmt: skip

    module("changed_reports", ', Column("orders", BigInteger)')
    changed = await asyncio.to_thread(ottla, "projection", "status", "changed_reports:customers", *folder)
    assert changed.status == 1
    assert "ottla projection rebuild changed_reports:customers" in changed.out
    rebuilt = await asyncio.to_thread(ottla, "projection", "rebuild", "changed_reports:customers", *folder)
    assert "generation 3 is live, 5 events written" in rebuilt.out
    assert (await asyncio.to_thread(ottla, "projection", "status", "changed_reports:customers", *folder)).status == 0
    wrong = ottla("projection", "status", "sales_reports:app", *folder)
    assert wrong.status == 1
    assert "is a App, no Projection" in wrong.err
    reports.engine.dispose()
