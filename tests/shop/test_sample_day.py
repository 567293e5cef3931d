"""The sample day through the running shop, against answers worked out by SQL from the file itself."""

from __future__ import annotations

import csv
import sqlite3
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

import shop.inventory.tables as inventory
import shop.notifications.tables as notifications
import shop.orders.tables as orders
import shop.payments.tables as payments
import shop.shipping.tables as shipping
from ottla.testing import EmbeddedBroker
from shop.invoices import read_invoices
from tests.shop.running import SERVICES, RunningShop, eventually, reasons

SAMPLE = Path(orders.__file__).parents[1] / "data" / "orders-2010-12-01.csv"

NO_GOODS = "('POST', 'C2', 'M', 'DOT', 'D')"

# What is wrong with each invoice, from the file alone. On this day no customer cancels twice, and no quantity is zero.
FAULTS = """
SELECT invoice,
       max(customer = '') AS missing_customer,
       max(trim(description) = '') AS empty_description,
       max(quantity < 0 AND invoice NOT LIKE 'C%') AS negative_quantity,
       max(mills <= 0) AS price_not_positive
FROM line GROUP BY invoice
"""
MATCHED = """
SELECT DISTINCT c.invoice FROM line c JOIN line o
    ON o.customer = c.customer AND o.invoice NOT LIKE 'C%' AND o.date <= c.date
WHERE c.invoice LIKE 'C%' AND c.customer <> '' AND NOT EXISTS (
    SELECT 1 FROM line taken WHERE taken.invoice = c.invoice AND (
        SELECT coalesce(sum(l.quantity), 0) FROM line l WHERE l.invoice = o.invoice AND l.article = taken.article
    ) < (SELECT -sum(l.quantity) FROM line l WHERE l.invoice = c.invoice AND l.article = taken.article)
)
"""
OUTCOMES = f"""
SELECT invoice, CASE
    WHEN EXISTS (
        SELECT 1 FROM line l WHERE l.invoice = line.invoice AND l.article NOT IN {NO_GOODS}
        GROUP BY l.article HAVING sum(l.quantity) > 400
    ) THEN 'out_of_stock'
    WHEN sum(quantity * mills) > 1500000 THEN 'declined' ELSE 'shipped' END,
    sum(quantity * mills)
FROM line GROUP BY invoice
"""


class Known:
    """What the file says must happen."""

    def __init__(self) -> None:
        database = sqlite3.connect(":memory:")
        database.execute("CREATE TABLE line (invoice, article, description, quantity INT, date, mills INT, customer)")
        with SAMPLE.open(encoding="utf-8", newline="") as text:
            database.executemany(
                "INSERT INTO line VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (row[0], row[1].upper(), row[2], int(row[3]), row[4], int(Decimal(row[5]) * 1000), row[6])
                    for row in list(csv.reader(text))[1:]
                ],
            )
        cursor = database.execute(FAULTS)
        names = [column[0] for column in cursor.description]
        self.faults = {
            row[0]: {name for name, wrong in zip(names[1:], row[1:], strict=True) if wrong} for row in cursor
        }
        matched = {row[0] for row in database.execute(MATCHED)}
        for invoice, faults in self.faults.items():
            if invoice.startswith("C") and not faults and invoice not in matched:
                faults.add("unknown_cancellation")
        self.accepted = {invoice for invoice, faults in self.faults.items() if not faults}
        self.orders = {invoice for invoice in self.accepted if not invoice.startswith("C")}
        ends = [row for row in database.execute(OUTCOMES) if row[0] in self.orders]
        self.outcomes = {invoice: outcome for invoice, outcome, _ in ends}
        pieces = database.execute("SELECT invoice, article, quantity FROM line WHERE article NOT IN " + NO_GOODS)
        self.reserved: Counter[str] = Counter()
        self.released: Counter[str] = Counter()
        for invoice, article, quantity in pieces:
            if self.outcomes.get(invoice, "out_of_stock") != "out_of_stock":
                self.reserved[article] += quantity
            if self.outcomes.get(invoice) == "declined" or invoice in self.accepted - self.orders:
                self.released[article] += abs(quantity)
        self.totals = {invoice: Decimal(mills) / 1000 for invoice, _, mills in ends}
        database.close()


@pytest.fixture(scope="module")
def known() -> Known:
    return Known()


class Day(RunningShop):
    """The shop after the sample day."""

    answers: dict[str, httpx.Response]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory, known: Known) -> Iterator[Day]:
    with EmbeddedBroker() as broker, Day(broker, tmp_path_factory.mktemp("shop")) as running:
        running.answers = {invoice.invoice_no: running.place(invoice.body()) for invoice in read_invoices(SAMPLE)}
        told = len(known.accepted)  # every order's end and every cancellation
        eventually(
            lambda: (
                Counter(row["event_type"] for row in running.rows("orders", orders.history))["NotificationSent"] >= told
            ),
            what=f"{told} notifications",
        )
        running.wait_until_all_is_handled()
        yield running


def effects(running: RunningShop) -> dict[str, Any]:
    """Everything that events have led to, in all five databases."""
    tables = {
        "orders": [orders.orders, orders.history, orders.handled],
        "inventory": [inventory.stock, inventory.ledger, inventory.reservations, inventory.handled],
        "payments": [payments.payments, payments.handled],
        "shipping": [shipping.shipments, shipping.handled],
        "notifications": [notifications.sent, notifications.handled],
    }
    return {
        f"{name}.{table.name}": sorted(map(repr, running.rows(name, table)))
        for name in SERVICES
        for table in tables[name]
    }


def test_the_answers_worked_out_from_the_file_are_those_of_the_day(known: Known) -> None:
    assert len(known.faults) == 143
    assert len(known.orders) == 121
    assert known.accepted - known.orders == {"C536506"}
    assert Counter(fault for faults in known.faults.values() for fault in faults) == {
        "missing_customer": 16,
        "empty_description": 10,
        "price_not_positive": 10,
        "negative_quantity": 1,
        "unknown_cancellation": 5,
    }
    assert Counter(known.outcomes.values()) == {"shipped": 114, "declined": 4, "out_of_stock": 3}


def test_every_invoice_gets_the_verdict_it_deserves(day: Day, known: Known) -> None:
    assert {number for number, answer in day.answers.items() if answer.status_code == 202} == known.accepted
    refused = {number: set(reasons(answer)) for number, answer in day.answers.items() if answer.status_code == 422}
    assert refused == {number: faults for number, faults in known.faults.items() if faults}


def test_every_order_comes_to_the_end_it_deserves(day: Day, known: Known) -> None:
    listed: dict[str, str] = {}
    for status in ("shipped", "declined", "out_of_stock", "cancelled", "accepted", "reserved", "paid"):
        page = day.http.get("/orders", params={"status": status, "limit": 500}).json()
        listed |= {order["invoice_no"]: order["status"] for order in page["orders"]}
    assert listed == known.outcomes


def test_every_total_is_exact(day: Day, known: Known) -> None:
    assert {row["invoice_no"]: row["total"] for row in day.rows("orders", orders.orders)} == known.totals
    paid = {row["order_id"]: row["amount"] for row in day.rows("payments", payments.payments)}
    by_invoice = {row["order_id"]: row["invoice_no"] for row in day.rows("orders", orders.orders)}
    assert {by_invoice[order_id]: amount for order_id, amount in paid.items()} == {
        invoice: total for invoice, total in known.totals.items() if known.outcomes[invoice] != "out_of_stock"
    }


def test_the_stock_ledger_holds_what_was_ordered_and_adds_up_to_what_is_on_hand(day: Day, known: Known) -> None:
    moved: dict[str, Counter[str]] = {kind: Counter() for kind in ("opening", "delivery", "reserved", "released")}
    for row in day.rows("inventory", inventory.ledger):
        moved[row["kind"]][row["stock_code"]] += row["quantity"]
    assert Counter({article: -quantity for article, quantity in moved["reserved"].items()}) == known.reserved
    assert moved["released"] == known.released
    on_hand = {row["stock_code"]: row["on_hand"] for row in day.rows("inventory", inventory.stock)}
    assert on_hand == {article: sum(kind[article] for kind in moved.values()) for article in known.reserved}


def test_only_shipped_orders_have_a_parcel(day: Day, known: Known) -> None:
    parcels = {row["order_id"] for row in day.rows("shipping", shipping.shipments) if row["parcel_no"]}
    shipped = {
        row["order_id"] for row in day.rows("orders", orders.orders) if known.outcomes[row["invoice_no"]] == "shipped"
    }
    assert parcels == shipped


def test_every_customer_was_told_once(day: Day, known: Known) -> None:
    assert Counter(row["kind"] for row in day.rows("notifications", notifications.sent)) == {
        "dispatched": 114,
        "declined": 4,
        "out_of_stock": 3,
        "cancelled": 1,
    }


def test_the_events_of_an_order_can_be_followed_from_one_to_the_next(day: Day) -> None:
    order_id = day.answers["536365"].json()["order_id"]
    assert day.history(order_id) == [
        "OrderCreated",
        "InventoryReserved",
        "PaymentAuthorized",
        "ShipmentDispatched",
        "NotificationSent",
    ]


def test_the_same_day_again_is_answered_alike_and_publishes_nothing(day: Day) -> None:
    before = day.event_ids()
    for invoice in read_invoices(SAMPLE):
        again = day.place(invoice.body())
        first = day.answers[invoice.invoice_no]
        assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert day.event_ids() == before


def test_another_order_under_a_known_number_is_refused(day: Day) -> None:
    body = next(read_invoices(SAMPLE)).body()
    body["lines"][0]["quantity"] += 1
    answer = day.place(body)
    assert answer.status_code == 409
    assert "Invoice 536365 was accepted before with other content" in answer.json()["detail"]


def test_every_event_published_again_changes_nothing(day: Day) -> None:
    before, ids = effects(day), day.event_ids()
    day.publish_again()
    day.wait_until_all_is_handled()
    assert effects(day) == before
    assert {topic: set(found) for topic, found in day.event_ids().items()} == {
        topic: set(found) for topic, found in ids.items()
    }
    assert all(len(found) > len(ids[topic]) for topic, found in day.event_ids().items())


def test_orders_are_listed_a_page_at_a_time_over_http(day: Day) -> None:
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = day.http.get("/orders", params={"limit": 50, "after": after}).json()
        seen += [order["order_id"] for order in page["orders"]]
        after = page["next"]
    assert len(seen) == len(set(seen)) == 121


def test_a_shipped_order_cannot_be_cancelled(day: Day) -> None:
    answer = day.http.delete(f"/orders/{day.answers['536365'].json()['order_id']}")
    assert answer.status_code == 409
    assert "it is shipped" in answer.json()["detail"]


def test_an_unknown_order_is_not_found(day: Day) -> None:
    for answer in (day.http.get("/orders/nonsense"), day.http.delete("/orders/nonsense")):
        assert answer.status_code == 404
        assert answer.json() == {"detail": "There is no order nonsense."}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, ["body", "invoice_no"]),
        ({"invoice_no": "1", "invoice_date": "yesterday", "lines": []}, ["body", "invoice_date"]),
        (
            {"invoice_no": "1", "invoice_date": "2010-12-01", "lines": [{"quantity": 1}]},
            ["body", "lines", 0, "stock_code"],
        ),
    ],
)
def test_a_body_of_another_shape_is_refused_with_its_place(day: Day, body: dict[str, Any], where: list[Any]) -> None:
    answer = day.http.post("/orders", json=body)
    assert answer.status_code == 422
    assert where in [fault["loc"] for fault in answer.json()["detail"]]


def test_a_text_that_a_database_cannot_hold_is_refused(day: Day) -> None:
    answer = day.place(next(read_invoices(SAMPLE)).body() | {"invoice_no": "nul", "country": "a\x00b"})
    assert reasons(answer) == ["string_pattern_mismatch"]


def test_a_customers_braces_do_not_disturb_a_refusal(day: Day) -> None:
    body = next(read_invoices(SAMPLE)).body() | {"invoice_no": "braces"}
    body["lines"] = [body["lines"][0] | {"stock_code": "{x}", "description": ""}]
    [fault] = day.place(body).json()["detail"]
    assert fault["msg"] == "The description of {X} is empty."


def test_the_api_describes_itself(day: Day) -> None:
    described = day.http.get("/openapi.json").json()
    assert described["info"]["title"] == "Orders"
    assert set(described["paths"]["/orders"]) == {"get", "post"}
    assert set(described["paths"]["/orders/{order_id}"]) == {"get", "delete"}
    refusal = described["paths"]["/orders"]["post"]["responses"]["422"]["content"]["application/json"]
    assert refusal["example"]["detail"][0]["type"] == "missing_customer"
    reference = refusal["schema"]["$ref"].removeprefix("#/components/schemas/")
    assert reference in described["components"]["schemas"]
    assert day.http.get("/docs").status_code == 200


def test_every_service_is_ready_and_counts_what_it_handled(day: Day) -> None:
    for name, port in day.ports.items():
        assert httpx.get(f"http://127.0.0.1:{port}/health/ready").json()["status"] == "ready"
        assert "ottla_records_handled_total{" in httpx.get(f"http://127.0.0.1:{port}/metrics").text, name
