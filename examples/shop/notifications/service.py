"""The notifications service: tells customers how their orders ended.

ottla run shop.notifications.service:app
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from ottla import App, Context, Retry, exponential
from shop import events
from shop.events import InventoryRejected, NotificationSent, OrderCancelled, PaymentDeclined, ShipmentDispatched
from shop.notifications import domain, tables
from shop.store import Store

app = App("notifications", events=events.ALL)
store = Store(app, tables.metadata)


@app.listen(
    ShipmentDispatched,
    PaymentDeclined,
    InventoryRejected,
    OrderCancelled,
    retry=Retry(attempts=5, backoff=exponential(0.1, 10)),
)
def notify(event: domain.Occasion, ctx: Context) -> NotificationSent:
    """Tell the customer. A real shop would send a mail here; this one keeps the message in its table."""
    return store.once(ctx, event, lambda tx: tell(tx, ctx.event_id, event))


def tell(tx: Connection, event_id: str, event: domain.Occasion) -> NotificationSent:
    message = domain.notification(event)
    tables.book(tx, event_id, message)
    return message
