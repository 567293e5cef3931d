"""The shipping service: sends paid orders, unless they were cancelled before.

ottla run shop.shipping.service:app
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from ottla import App, Context, Retry, exponential
from shop import events
from shop.events import OrderCancelled, PaymentAuthorized, ShipmentDispatched
from shop.shipping import domain, tables
from shop.store import Store

app = App("shipping", events=events.ALL)
store = Store(app, tables.metadata)
RETRY = Retry(attempts=5, backoff=exponential(0.1, 10))


@app.listen(PaymentAuthorized, retry=RETRY)
def dispatch(paid: PaymentAuthorized, ctx: Context) -> ShipmentDispatched | None:
    """Send a paid order."""
    return store.once(ctx, paid, lambda tx: send(tx, paid))


@app.listen(OrderCancelled, retry=RETRY)
def stop(cancelled: OrderCancelled, ctx: Context) -> None:
    """Keep a wholly cancelled order from being sent, if it has not left yet."""
    store.once(ctx, cancelled, lambda tx: hold(tx, cancelled))


def send(tx: Connection, paid: PaymentAuthorized) -> ShipmentDispatched | None:
    parcel_no = domain.parcel_no(paid.order_id)
    if not tables.claim(tx, paid.order_id, parcel_no):
        return None
    return ShipmentDispatched(paid.order_id, paid.customer_id, parcel_no)


def hold(tx: Connection, cancelled: OrderCancelled) -> None:
    if cancelled.whole:
        tables.claim(tx, cancelled.order_id, None)
