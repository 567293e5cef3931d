"""Booking many commands at once. How they are published is tested on the running shop, in `test_faults.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection

from ottla import App, DatabaseSettings, KafkaSettings, Settings
from shop.orders import acceptance, tables
from shop.orders.acceptance import Command, Contradiction, NothingToCancel
from shop.orders.domain import Invoice
from shop.orders.outbox import NotAcknowledged, Outbox
from shop.store import Store
from tests.shop.harness import invoice, line, rows


class Desk:
    """An outbox without Kafka: every command ends as not acknowledged, if it is not refused before."""

    def __init__(self, url: str) -> None:
        kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1")
        app = App("orders", settings=Settings(kafka=kafka, database=DatabaseSettings(url=url)))
        self.store = Store(app, tables.metadata)
        self.outbox = Outbox(app, self.store, patience_s=0.05)

    async def send(self, *sent: Invoice) -> list[type[BaseException]]:
        """What became of invoices that arrive at once."""
        wanted = [self.outbox.carry_out(lambda tx, one=one: acceptance.accept(tx, one)) for one in sent]  # type: ignore[misc]
        outcomes = await asyncio.gather(*wanted, return_exceptions=True)
        return [type(outcome) for outcome in outcomes if isinstance(outcome, BaseException)]

    def booked(self) -> list[str]:
        return [row["invoice_no"] for row in rows(self.store, tables.commands)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(f"sqlite:///{tmp_path / 'orders.db'}")
    desk.store.open()
    yield desk
    desk.store.close()


async def test_invoices_that_arrive_at_once_are_all_booked(desk: Desk) -> None:
    numbers = [str(number) for number in range(50)]
    assert await desk.send(*map(invoice, numbers)) == [NotAcknowledged] * 50
    assert sorted(desk.booked(), key=int) == numbers


async def test_one_invoice_sent_many_times_at_once_is_booked_once(desk: Desk) -> None:
    assert await desk.send(*[invoice("1")] * 20) == [NotAcknowledged] * 20
    assert desk.booked() == ["1"]


async def test_a_refused_invoice_does_not_hinder_those_beside_it(desk: Desk) -> None:
    outcomes = await desk.send(
        invoice("1", line("A", 1)), invoice("C9", line("A", -5)), invoice("1", line("A", 2)), invoice("2")
    )
    assert outcomes == [NotAcknowledged, NothingToCancel, Contradiction, NotAcknowledged]
    assert desk.booked() == ["1", "2"]


async def test_a_command_that_breaks_the_transaction_fails_alone(desk: Desk) -> None:
    def broken(tx: Connection) -> Command:
        acceptance.accept(tx, invoice("half"))
        raise ArithmeticError

    outcomes = await asyncio.gather(desk.send(invoice("1")), desk.outbox.carry_out(broken), return_exceptions=True)
    assert outcomes[0] == [NotAcknowledged]
    assert isinstance(outcomes[1], ArithmeticError)
    assert desk.booked() == ["1"]
