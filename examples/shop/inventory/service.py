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


@app.listen(OrderCreated, retry=RETRY, batch=50)
def reserve(orders: list[OrderCreated], ctxs: list[Context]) -> list[InventoryReserved | InventoryRejected | None]:
    """Set aside all articles of each order, or none of it."""
    return store.once(orders, ctxs, stock.reserve)


@app.listen(OrderCancelled, retry=RETRY, batch=50)
def cancel(cancelled: list[OrderCancelled], ctxs: list[Context]) -> list[InventoryReleased | None]:
    """Put back what customers cancelled."""
    return store.once(cancelled, ctxs, stock.cancel)


@app.listen(PaymentDeclined, retry=RETRY, batch=50)
def release(declined: list[PaymentDeclined], ctxs: list[Context]) -> list[InventoryReleased | None]:
    """Put back what will not be paid."""
    return store.once(declined, ctxs, stock.release)
