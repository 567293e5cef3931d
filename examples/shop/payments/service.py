"""The payments service: secures the payment of orders whose articles are set aside.

ottla run shop.payments.service:app
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from ottla import App, Context, Retry, exponential
from shop import events
from shop.events import InventoryReserved, PaymentAuthorized, PaymentDeclined
from shop.payments import domain, tables
from shop.store import Store

app = App("payments", events=events.ALL)
store = Store(app, tables.metadata)


@app.listen(InventoryReserved, retry=Retry(attempts=5, backoff=exponential(0.1, 10)))
def charge(order: InventoryReserved, ctx: Context) -> PaymentAuthorized | PaymentDeclined:
    """Decide on an order's payment."""
    return store.once(ctx, order, lambda tx: decide(tx, order))


def decide(tx: Connection, order: InventoryReserved) -> PaymentAuthorized | PaymentDeclined:
    reason = domain.reason_to_decline(order.total)
    tables.book(tx, order, reason)
    if reason is None:
        return PaymentAuthorized(order.order_id, order.customer_id, order.total)
    return PaymentDeclined(order.order_id, order.customer_id, order.total, reason)
