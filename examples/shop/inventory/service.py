"""The inventory service: sets aside the articles of orders, and takes them back.

ottla run shop.inventory.service:app
"""

from __future__ import annotations

from ottla import App, Context, Retry, exponential
from shop import events
from shop.events import (
    InventoryRejected,
    InventoryReleased,
    InventoryReserved,
    OrderCancelled,
    OrderCreated,
    PaymentDeclined,
)
from shop.inventory import stock, tables
from shop.store import Store

app = App("inventory", events=events.ALL)
store = Store(app, tables.metadata)
RETRY = Retry(attempts=5, backoff=exponential(0.1, 10))


@app.listen(OrderCreated, retry=RETRY)
def reserve(order: OrderCreated, ctx: Context) -> InventoryReserved | InventoryRejected | None:
    """Set aside all articles of an order, or none."""
    return store.once(ctx, order, lambda tx: stock.reserve(tx, order))


@app.listen(OrderCancelled, retry=RETRY)
def cancel(cancelled: OrderCancelled, ctx: Context) -> InventoryReleased | None:
    """Put back what a customer cancelled."""
    return store.once(ctx, cancelled, lambda tx: stock.cancel(tx, cancelled))


@app.listen(PaymentDeclined, retry=RETRY)
def release(declined: PaymentDeclined, ctx: Context) -> InventoryReleased | None:
    """Put back what will not be paid."""
    return store.once(ctx, declined, lambda tx: stock.put_back(tx, declined.order_id, None, "payment declined"))
