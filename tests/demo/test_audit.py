"""The audit must find what is wrong. Each test falsifies one thing in a copy of what a real run left behind."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from ottla import KafkaSettings
from ottla.registry.client import RegistryClient
from ottla.serde.deserializer import Deserializer
from ottla.testing import EmbeddedBroker, EmbeddedRegistry
from shop import events
from shop.demo.audit import Books, audit
from shop.demo.ledgers import read_ledgers
from shop.demo.loader import Answer
from shop.demo.pipeline import SERVICES
from shop.demo.said import DeadLetter, Said, Told, read_said
from shop.events import ShopEvent
from tests.demo.conftest import FinishedDemo


@pytest.fixture(scope="session")
def all_said(finished_demo: FinishedDemo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Said]:
    """The topics of the finished demo, read once. Take `said`, a copy."""
    data = tmp_path_factory.mktemp("topics") / "broker"
    shutil.copytree(finished_demo.data / "broker", data)
    with EmbeddedBroker(data) as broker, EmbeddedRegistry(broker.bootstrap_servers) as registry:
        client = RegistryClient(registry.url)
        yield read_said(KafkaSettings(bootstrap_servers=broker.bootstrap_servers), Deserializer(client))
        client.close()


@pytest.fixture
def said(all_said: Said) -> Said:
    return copy.deepcopy(all_said)


class Databases:
    """Copies of the five databases, to be falsified."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def change(self, service: str, statement: str) -> int:
        """Executes SQL on one of them; gives the number of rows it changed."""
        engine = create_engine(f"sqlite:///{self._folder / service}.db")
        with engine.begin() as connection:
            changed = connection.execute(text(statement)).rowcount
        engine.dispose()
        assert changed, f"nothing was falsified by {statement}"
        return changed

    def audit(self, said: Said, *, settled: bool = True) -> Books:
        ledgers = read_ledgers({name: f"sqlite:///{self._folder / name}.db" for name in SERVICES})
        return audit(said, ledgers, settled=settled)


@pytest.fixture
def databases(finished_demo: FinishedDemo, tmp_path: Path) -> Databases:
    shutil.copytree(finished_demo.data / "db", tmp_path / "db")
    return Databases(tmp_path / "db")


def an_event(said: Said, cls: type[ShopEvent]) -> Told:
    return next(iter(said.of(cls).values()))


def expect_complaint(books: Books, *parts: str) -> None:
    assert not books.balanced
    assert any(all(part in complaint for part in parts) for complaint in books.discrepancies), books.discrepancies


def test_what_a_run_left_behind_balances(databases: Databases, said: Said) -> None:
    books = databases.audit(said)
    assert books.discrepancies == []
    assert books.balanced
    assert sum(books.outcomes.values()) == len(said.of(events.OrderCreated)) > 300


def test_a_total_that_the_streams_added_up_wrongly_is_found(finished_demo: FinishedDemo, said: Said) -> None:
    ledgers = read_ledgers({name: f"sqlite:///{finished_demo.data}/db/{name}.db" for name in SERVICES})
    totals = dict(ledgers.orders.totals)
    assert audit(said, ledgers, totals=totals).balanced
    customer, (orders, total) = totals.popitem()
    expect_complaint(audit(said, ledgers, totals=totals), "not among totals told by the streams", customer)
    wrong = {**totals, customer: (orders, total + Decimal("0.01"))}
    expect_complaint(audit(said, ledgers, totals=wrong), "not among totals told by the streams", customer)


def test_a_lost_effect_is_found(databases: Databases, said: Said) -> None:
    order_id = an_event(said, events.ShipmentDispatched).order_id
    databases.change("shipping", f"DELETE FROM shipments WHERE order_id = '{order_id}'")
    expect_complaint(databases.audit(said), "ShipmentDispatched events", "not among shipments", order_id)


def test_an_event_that_a_service_never_booked_is_found(databases: Databases, said: Said) -> None:
    event_id = an_event(said, events.InventoryReserved).event_id
    databases.change("payments", f"DELETE FROM handled WHERE event_id = '{event_id}'")
    expect_complaint(databases.audit(said), "InventoryReserved events not among handled by payments", event_id)


def test_an_effect_without_an_event_is_found(databases: Databases, said: Said) -> None:
    databases.change("payments", "INSERT INTO payments VALUES ('nobody''s order', '1', '9.99', 1, NULL)")
    expect_complaint(databases.audit(said), "payments authorized", "not among PaymentAuthorized", "nobody's order")


def test_a_doubled_effect_is_found(databases: Databases, said: Said) -> None:
    first = an_event(said, events.ShipmentDispatched)
    said.of(events.ShipmentDispatched)["second"] = replace(first, event_id="second")
    books = databases.audit(said)
    expect_complaint(books, "orders with several ShipmentDispatched", first.order_id)
    expect_complaint(books, "shipping answered one event with several ShipmentDispatched", str(first.causation_id))


def test_an_event_that_is_no_longer_in_its_topic_is_found(databases: Databases, said: Said) -> None:
    event = an_event(said, events.OrderCreated)
    del said.of(events.OrderCreated)[event.event_id]
    books = databases.audit(said)
    expect_complaint(books, "orders accepted, in the database not among OrderCreated events", event.event_id)
    expect_complaint(books, "handled by inventory not among OrderCreated events", event.event_id)


def test_an_order_nobody_accepted_is_found(databases: Databases, said: Said) -> None:
    said.of(events.OrderCreated)["forged"] = Told("forged", "forged order", None)
    books = databases.audit(said)
    expect_complaint(books, "OrderCreated events not among orders accepted", "forged")
    expect_complaint(books, "OrderCreated events not among handled by inventory", "forged")


def test_an_accepted_order_that_was_never_published_is_found(databases: Databases, said: Said) -> None:
    event = an_event(said, events.OrderCreated)
    del said.of(events.OrderCreated)[event.event_id]
    for service in ("orders", "inventory"):
        databases.change(service, f"DELETE FROM handled WHERE event_id = '{event.event_id}'")
    expect_complaint(databases.audit(said), "orders accepted", event.event_id)


def test_stock_that_is_not_the_sum_of_its_movements_is_found(databases: Databases, said: Said) -> None:
    databases.change("inventory", "UPDATE stock SET on_hand = on_hand + 1 WHERE stock_code = '22423'")
    expect_complaint(databases.audit(said), "articles whose stock is not the sum of its movements", "22423")


def test_a_movement_booked_twice_is_found(databases: Databases, said: Said) -> None:
    databases.change(
        "inventory",
        "INSERT INTO ledger (stock_code, kind, quantity, order_id) "
        "SELECT stock_code, kind, quantity, order_id FROM ledger WHERE kind = 'reserved' LIMIT 1",
    )
    books = databases.audit(said)
    expect_complaint(books, "articles whose stock is not the sum of its movements")
    expect_complaint(books, "pieces set aside differ between stock ledger and InventoryReserved")


def test_pieces_that_never_came_back_are_found(databases: Databases, said: Said) -> None:
    order_id = an_event(said, events.InventoryReleased).order_id
    databases.change("inventory", f"DELETE FROM ledger WHERE kind = 'released' AND order_id = '{order_id}'")
    books = databases.audit(said)
    expect_complaint(books, "pieces put back differ between stock ledger and InventoryReleased", order_id)
    expect_complaint(books, "not what was set aside less what was put back", order_id)


def test_a_customer_who_was_not_told_is_found(databases: Databases, said: Said) -> None:
    cause = an_event(said, events.NotificationSent).causation_id
    databases.change("notifications", f"DELETE FROM sent WHERE event_id = '{cause}'")
    expect_complaint(databases.audit(said), "not among messages sent", str(cause))


def test_a_read_model_that_shows_otherwise_is_found(databases: Databases, said: Said) -> None:
    order_id = an_event(said, events.PaymentDeclined).order_id
    databases.change("orders", f"UPDATE orders SET progress = 5 WHERE order_id = '{order_id}'")
    expect_complaint(databases.audit(said), "read model shows otherwise", order_id, "shipped", "declined")


def test_a_missing_entry_of_an_orders_history_is_found(databases: Databases, said: Said) -> None:
    event_id = an_event(said, events.PaymentAuthorized).event_id
    databases.change("orders", f"DELETE FROM history WHERE event_id = '{event_id}'")
    expect_complaint(databases.audit(said), "not among entries of the history", event_id)


def test_an_order_that_stands_still_is_found_unless_the_run_was_cut_off(databases: Databases, said: Said) -> None:
    shipped = an_event(said, events.ShipmentDispatched)
    del said.of(events.ShipmentDispatched)[shipped.event_id]
    told = next(x for x in said.of(events.NotificationSent).values() if x.causation_id == shipped.event_id)
    del said.of(events.NotificationSent)[told.event_id]
    databases.change("orders", f"DELETE FROM handled WHERE event_id IN ('{shipped.event_id}', '{told.event_id}')")
    databases.change("orders", f"DELETE FROM history WHERE event_id IN ('{shipped.event_id}', '{told.event_id}')")
    for table, column in (("handled", "event_id"), ("sent", "event_id")):
        databases.change("notifications", f"DELETE FROM {table} WHERE {column} = '{shipped.event_id}'")
    # As if shipping had booked the parcel and was killed before it could say so.
    books = databases.audit(said)
    expect_complaint(books, "never reached an end", shipped.order_id)
    assert books.outcomes["in_flight"] == 1
    cut_off = databases.audit(said, settled=False)
    assert cut_off.discrepancies == []
    assert cut_off.outcomes["in_flight"] == 1


def test_an_event_said_twice_is_one_event(databases: Databases, said: Said) -> None:
    said.copies += 3
    assert databases.audit(said).balanced


def test_an_effect_without_an_event_is_a_fault_even_when_the_run_was_cut_off(databases: Databases, said: Said) -> None:
    event = an_event(said, events.InventoryReserved)
    databases.change("inventory", f"DELETE FROM handled WHERE event_id = '{event.causation_id}'")
    books = databases.audit(said, settled=False)
    expect_complaint(books, "InventoryReserved events following not among answers in the inventory database")


def test_a_dead_letter_accounts_for_its_event_and_its_order(databases: Databases, said: Said) -> None:
    paid = next(
        event
        for event in said.of(events.PaymentAuthorized).values()
        if sum(event.order_id == x.order_id for x in said.of(events.OrderCancelled).values()) == 0
    )
    shipped = next(x for x in said.of(events.ShipmentDispatched).values() if x.order_id == paid.order_id)
    told = next(x for x in said.of(events.NotificationSent).values() if x.causation_id == shipped.event_id)
    del said.of(events.ShipmentDispatched)[shipped.event_id]
    del said.of(events.NotificationSent)[told.event_id]
    followed = f"('{shipped.event_id}', '{told.event_id}')"
    databases.change("shipping", f"DELETE FROM shipments WHERE order_id = '{paid.order_id}'")
    databases.change("shipping", f"DELETE FROM handled WHERE event_id = '{paid.event_id}'")
    databases.change("orders", f"DELETE FROM handled WHERE event_id IN {followed}")
    databases.change("orders", f"DELETE FROM history WHERE event_id IN {followed}")
    databases.change("orders", f"UPDATE orders SET progress = 2 WHERE order_id = '{paid.order_id}'")
    for table in ("handled", "sent"):
        databases.change("notifications", f"DELETE FROM {table} WHERE event_id = '{shipped.event_id}'")
    assert not databases.audit(copy.deepcopy(said)).balanced
    place = ("payment-events", 0, 17)
    said.dead["shipping"][place] = DeadLetter(place, paid.order_id, paid.event_id, "the van is broken")
    books = databases.audit(said)
    assert books.discrepancies == []
    assert books.outcomes["dead_lettered"] == 1
    assert any("the van is broken" in note for note in books.notes)


def test_a_record_that_is_no_event_must_be_dead_lettered_by_every_listener(databases: Databases, said: Said) -> None:
    place = ("inventory-events", 0, 5)
    said.strangers[place] = None
    for service in ("orders", "payments"):
        said.dead[service][place] = DeadLetter(place, "", None, "no Avro")
    expect_complaint(databases.audit(copy.deepcopy(said)), "not among dead letters of notifications")
    said.dead["notifications"][place] = DeadLetter(place, "", None, "no Avro")
    books = databases.audit(said)
    assert books.balanced
    assert any("1 record in the topics is no event" in note for note in books.notes)


@pytest.mark.parametrize(
    ("number", "answer", "complaint"),
    [
        ("999999", None, "neither accepted nor rejected"),
        ("999999", Answer("999999", "accepted", "id"), "was accepted, and is not in the orders database"),
        ("536365", Answer("536365", "rejected", reason="no_lines"), "was rejected, and is in the orders database"),
    ],
)
def test_an_invoice_that_went_astray_is_found(
    finished_demo: FinishedDemo, said: Said, number: str, answer: Answer | None, complaint: str
) -> None:
    ledgers = read_ledgers({name: f"sqlite:///{finished_demo.data}/db/{name}.db" for name in SERVICES})
    books = audit(said, ledgers, invoices=["536366", number], answers={1: answer} if answer else {})
    expect_complaint(books, complaint, number)
    assert audit(said, ledgers, invoices=["536366", "536365"]).balanced
