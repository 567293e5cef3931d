"""What the shop promises when something is away: nothing accepted is lost, nothing happens twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import table

import shop.inventory.tables as inventory
import shop.shipping.tables as shipping
from ottla.testing import EmbeddedBroker
from tests.shop.running import RunningShop, eventually, reasons


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningShop]:
    with EmbeddedBroker() as broker, RunningShop(broker, tmp_path_factory.mktemp("shop")) as running:
        yield running


def body(invoice_no: str, quantity: int = 2, customer: str = "17850") -> dict[str, Any]:
    line = {"stock_code": "85123A", "description": "T-LIGHT HOLDER", "quantity": quantity, "unit_price": 2.55}
    return {
        "invoice_no": invoice_no,
        "customer_id": customer,
        "country": "France",
        "invoice_date": "2010-12-01 08:26:00",
        "lines": [line],
    }


def place(shop: RunningShop, invoice_no: str, **content: Any) -> str:
    answer = shop.place(body(invoice_no, **content))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["order_id"])


def test_an_order_cancelled_on_its_way_is_not_sent_and_its_goods_go_back(shop: RunningShop) -> None:
    shop.supervisor.kill("inventory")
    order_id = place(shop, "1-cancelled")
    answer = shop.http.delete(f"/orders/{order_id}")
    assert (answer.status_code, answer.json()["kind"]) == (202, "cancellation")
    assert shop.http.delete(f"/orders/{order_id}").json() == answer.json()
    shop.start("inventory")
    eventually(lambda: {"InventoryReleased", "PaymentAuthorized"} <= set(shop.history(order_id)), what="a way through")
    shop.wait_until_all_is_handled()
    assert shop.status(order_id) == "cancelled"
    assert Counter(shop.history(order_id))["OrderCancelled"] == 1
    assert "ShipmentDispatched" not in shop.history(order_id)
    moved = [row["quantity"] for row in shop.rows("inventory", inventory.ledger) if row["order_id"] == order_id]
    assert sum(moved) in (0, 400)  # with the opening stock, if this is the article's first order
    assert {row["order_id"]: row["parcel_no"] for row in shop.rows("shipping", shipping.shipments)}[order_id] is None


def test_a_cancelling_invoice_for_all_of_an_order_cancels_it(shop: RunningShop) -> None:
    order_id = place(shop, "2-cancelled", quantity=3, customer="C-2")
    answer = shop.place(body("C-cancelled-2", quantity=-3, customer="C-2"))
    assert (answer.status_code, answer.json()["order_id"]) == (202, order_id)
    eventually(lambda: shop.status(order_id) == "cancelled", what="a cancelled order")
    assert reasons(shop.place(body("C-again", quantity=-3, customer="C-2"))) == ["unknown_cancellation"]


def test_an_order_accepted_without_kafka_is_sent_on_later(shop: RunningShop) -> None:
    place(shop, "warm-up")
    shop.broker.kill()
    order_id = place(shop, "patient")
    assert shop.status(order_id) == "accepted"
    shop.broker.start()
    eventually(lambda: went_all_the_way(shop, order_id), within_s=60, what="the whole way of an order")
    assert shop.status(order_id) == "shipped"
    assert Counter(shop.history(order_id)) == ONCE_EACH


ONCE_EACH = Counter(
    ["OrderCreated", "InventoryReserved", "PaymentAuthorized", "ShipmentDispatched", "NotificationSent"]
)


def went_all_the_way(shop: RunningShop, order_id: str) -> bool:
    """The read model takes each topic at its own pace: an order's last event may be there before the one before it."""
    return set(ONCE_EACH) <= set(shop.history(order_id))


def test_an_order_whose_service_died_before_publishing_is_published_at_the_next_start(shop: RunningShop) -> None:
    place(shop, "warm-up-again")
    eventually(lambda: waiting(shop) == 0, what="an empty outbox")
    shop.broker.kill()
    order_id = place(shop, "orphan")
    shop.supervisor.kill("orders")
    assert waiting(shop) == 1
    shop.broker.start()
    shop.start("orders")
    shop.supervisor.wait_ready("orders", timeout_s=60)
    eventually(lambda: went_all_the_way(shop, order_id), within_s=60, what="the whole way of an order")
    assert shop.status(order_id) == "shipped"
    assert Counter(shop.history(order_id)) == ONCE_EACH


@pytest.mark.parametrize("service", ["orders", "inventory"])
def test_a_service_killed_in_mid_flow_leaves_every_order_shipped_once(shop: RunningShop, service: str) -> None:
    ids = []
    for number in range(40):
        if number == 20:
            shop.supervisor.kill(service)
            shop.start(service)
            shop.supervisor.wait_ready("orders", timeout_s=60)
        ids.append(place(shop, f"{service}-{number}"))
    eventually(lambda: all(went_all_the_way(shop, x) for x in ids), within_s=60, what="40 ends")
    shop.wait_until_all_is_handled()
    for order_id in ids:
        assert Counter(shop.history(order_id)) == ONCE_EACH
    parcels = Counter(row["order_id"] for row in shop.rows("shipping", shipping.shipments))
    assert all(parcels[order_id] == 1 for order_id in ids)


def test_what_kafka_has_acknowledged_leaves_the_outbox(shop: RunningShop) -> None:
    place(shop, "noted")
    eventually(lambda: waiting(shop) == 0, what="an empty outbox")


def waiting(shop: RunningShop) -> int:
    """How many events the orders service has yet to publish."""
    return shop.count("orders", table("ottla_outbox"))
