"""The payments service: secures the payment of orders whose articles are set aside.

ottla run shop.payments.service:app
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from ottla import App, Context, Retry, exponential
from shop import events
from shop.events import InventoryReserved, PaymentAuthorized, PaymentDeclined
from shop.payments import domain, tables
from shop.store import Store

app = App("payments", events=events.ALL)
store = Store(app, tables.metadata)


@app.listen(InventoryReserved, retry=Retry(attempts=5, backoff=exponential(0.1, 10)), batch=100)
def charge(orders: list[InventoryReserved], ctxs: list[Context]) -> list[PaymentAuthorized | PaymentDeclined]:
    """Decide on orders' payments."""
    return store.once(orders, ctxs, decide)


def decide(
    tx: Connection, orders: Sequence[InventoryReserved], _ctxs: Sequence[Context]
) -> list[PaymentAuthorized | PaymentDeclined]:
    reasons = [domain.reason_to_decline(order.total) for order in orders]
    tables.book(tx, zip(orders, reasons, strict=True))
    return list(map(domain.decision, orders, reasons))
