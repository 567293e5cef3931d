"""The notifications service: tells customers how their orders ended.

ottla run shop.notifications.service:app
"""

from __future__ import annotations

from collections.abc import Sequence

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
    batch=100,
)
def notify(events: list[domain.Occasion], ctxs: list[Context]) -> list[NotificationSent]:
    """Tell the customers. A real shop would send a mail here; this one keeps the message in its table."""
    return store.once(events, ctxs, tell)


def tell(tx: Connection, events: Sequence[domain.Occasion], ctxs: Sequence[Context]) -> list[NotificationSent]:
    messages = [domain.notification(event) for event in events]
    tables.book(tx, zip((ctx.event_id for ctx in ctxs), messages, strict=True))
    return messages
