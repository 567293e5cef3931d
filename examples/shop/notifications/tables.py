"""The notifications database: every message that was sent."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Column, MetaData, String, Table, Text
from sqlalchemy.engine import Connection

from shop.events import NotificationSent
from shop.store import handled_table

metadata = MetaData()
handled = handled_table(metadata)

# One message per event: an order that is cancelled in two steps gets two.
sent = Table(
    "sent",
    metadata,
    Column("event_id", String(64), primary_key=True),
    Column("order_id", String(64), nullable=False),
    Column("customer_id", String(200), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("text", Text, nullable=False),
)

_insert = sent.insert()


def book(tx: Connection, messages: Iterable[tuple[str, NotificationSent]]) -> None:
    """Write down messages, each with the id of the event that it is about."""
    tx.execute(
        _insert,
        [
            {
                "event_id": event_id,
                "order_id": message.order_id,
                "customer_id": message.customer_id,
                "kind": message.kind,
                "text": message.text,
            }
            for event_id, message in messages
        ],
    )
