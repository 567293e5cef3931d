from __future__ import annotations

from decimal import Decimal

import pytest

from shop.events import InventoryRejected, OrderCancelled, PaymentDeclined, ShipmentDispatched, StockLine
from shop.notifications import domain, service, tables
from tests.shop.harness import context, opened, rows


@pytest.mark.parametrize(
    ("event", "kind", "text"),
    [
        (ShipmentDispatched("o", "7", "OT-1"), "dispatched", "Your order is on its way: parcel OT-1."),
        (
            PaymentDeclined("o", "7", Decimal("9.5"), "too much"),
            "declined",
            "Your payment of 9.50 was declined: too much.",
        ),
        (
            InventoryRejected("o", "7", "2 wanted, 1 there"),
            "out_of_stock",
            "Your order cannot be filled: 2 wanted, 1 there.",
        ),
        (OrderCancelled("o", None, "7", [], whole=True), "cancelled", "Your order was cancelled."),
        (
            OrderCancelled("o", "C1", "7", [StockLine("A", 3)], whole=False),
            "cancelled",
            "3 pieces of your order were cancelled.",
        ),
    ],
)
def test_a_customer_is_told_how_the_order_ended(
    database_url: str, event: domain.Occasion, kind: str, text: str
) -> None:
    with opened(tables.metadata, database_url) as store:
        with store.transaction() as tx:
            [message] = service.tell(tx, [event], [context(event, "event-1")])
        assert (message.order_id, message.customer_id, message.kind, message.text) == ("o", "7", kind, text)
        assert [(row["event_id"], row["kind"], row["text"]) for row in rows(store, tables.sent)] == [
            ("event-1", kind, text)
        ]
