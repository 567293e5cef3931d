"""The shipping service: sends paid orders, unless they were cancelled before.

ottla run shop.shipping.service:app
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from ottla import App, Context, Retry, exponential
from shop import events
from shop.events import OrderCancelled, PaymentAuthorized, ShipmentDispatched
from shop.shipping import domain, tables
from shop.store import Store

app = App("shipping", events=events.ALL)
store = Store(app, tables.metadata)
RETRY = Retry(attempts=5, backoff=exponential(0.1, 10))


@app.listen(PaymentAuthorized, retry=RETRY, batch=100)
def dispatch(paid: list[PaymentAuthorized], ctxs: list[Context]) -> list[ShipmentDispatched | None]:
    """Send paid orders."""
    return store.once(paid, ctxs, send)


@app.listen(OrderCancelled, retry=RETRY, batch=100)
def stop(cancelled: list[OrderCancelled], ctxs: list[Context]) -> None:
    """Keep wholly cancelled orders from being sent, if they have not left yet."""
    store.once(cancelled, ctxs, hold)


def send(
    tx: Connection, paid: Sequence[PaymentAuthorized], _ctxs: Sequence[Context]
) -> list[ShipmentDispatched | None]:
    parcels = {order.order_id: domain.parcel_no(order.order_id) for order in paid}
    sent = tables.settle(tx, parcels)
    return [
        ShipmentDispatched(order.order_id, order.customer_id, parcels[order.order_id])
        if order.order_id in sent
        else None
        for order in paid
    ]


def hold(tx: Connection, cancelled: Sequence[OrderCancelled], _ctxs: Sequence[Context]) -> list[None]:
    tables.settle(tx, {order.order_id: None for order in cancelled if order.whole})
    return [None] * len(cancelled)
