"""Deciding on many commands at once. How their events are published: `test_faults.py`, on the running shop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection

from ottla import App, DatabaseSettings, RegistrySettings, Settings
from ottla.testing import EmbeddedRegistry
from shop.orders import acceptance, tables
from shop.orders.acceptance import Command, Contradiction, NothingToCancel
from shop.orders.desk import Desk
from shop.orders.domain import Invoice, event_id_of, order_id_of
from shop.store import Store
from tests.shop.harness import invoice, line, rows


class Office:
    """A desk, its database and its outbox, from which nobody takes anything."""

    def __init__(self, url: str, registry_url: str) -> None:
        settings = Settings(database=DatabaseSettings(url=url), registry=RegistrySettings(url=registry_url))
        app = App("orders", settings=settings)
        self.store = Store(app, tables.metadata)
        outbox = app.outbox(self.store.beside, metadata=tables.metadata, relay=False)
        self.waiting = outbox.tables.rows
        self.desk = Desk(self.store, outbox)

    async def send(self, *sent: Invoice) -> list[type[BaseException]]:
        """What became of invoices that arrive at once, where it is not well."""
        wanted = [self.desk.carry_out(lambda tx, one=one: acceptance.accept(tx, one)) for one in sent]  # type: ignore[misc]
        outcomes = await asyncio.gather(*wanted, return_exceptions=True)
        return [type(outcome) for outcome in outcomes if isinstance(outcome, BaseException)]

    def booked(self) -> list[str]:
        return [row["invoice_no"] for row in rows(self.store, tables.commands)]

    def said(self) -> list[str]:
        """The ids of the events in the outbox, in their order."""
        return [row["event_id"] for row in rows(self.store, self.waiting)]


@pytest.fixture
def office(tmp_path: Path, kafka_registry: EmbeddedRegistry) -> Iterator[Office]:
    office = Office(f"sqlite:///{tmp_path / 'orders.db'}", kafka_registry.url)
    office.store.open()
    yield office
    office.store.close()


def events_of(*numbers: str) -> list[str]:
    return [event_id_of(order_id_of(number)) for number in numbers]


async def test_invoices_that_arrive_at_once_are_all_booked_with_their_events(office: Office) -> None:
    numbers = [str(number) for number in range(50)]
    assert await office.send(*map(invoice, numbers)) == []
    assert sorted(office.booked(), key=int) == numbers
    assert sorted(office.said()) == sorted(events_of(*numbers))


async def test_one_invoice_sent_many_times_at_once_is_booked_and_said_once(office: Office) -> None:
    assert await office.send(*[invoice("1")] * 20) == []
    assert (office.booked(), office.said()) == (["1"], events_of("1"))


async def test_an_order_and_its_cancellation_are_said_in_their_order(office: Office) -> None:
    assert await office.send(invoice("1", line("A", 2)), invoice("C1", line("A", -2))) == []
    assert office.said() == events_of("1", "C1")


async def test_a_refused_invoice_does_not_hinder_those_beside_it(office: Office) -> None:
    outcomes = await office.send(
        invoice("1", line("A", 1)), invoice("C9", line("A", -5)), invoice("1", line("A", 2)), invoice("2")
    )
    assert outcomes == [NothingToCancel, Contradiction]
    assert (office.booked(), office.said()) == (["1", "2"], events_of("1", "2"))


async def test_a_command_that_breaks_the_transaction_fails_alone_and_says_nothing(office: Office) -> None:
    def broken(tx: Connection) -> Command:
        acceptance.accept(tx, invoice("half"))
        raise ArithmeticError

    outcomes = await asyncio.gather(office.send(invoice("1")), office.desk.carry_out(broken), return_exceptions=True)
    assert outcomes[0] == []
    assert isinstance(outcomes[1], ArithmeticError)
    assert (office.booked(), office.said()) == (["1"], events_of("1"))
