"""The payments database: one decision per order."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Boolean, Column, MetaData, String, Table, Text
from sqlalchemy.engine import Connection

from shop.events import InventoryReserved
from shop.money_column import Money
from shop.store import handled_table

metadata = MetaData()
handled = handled_table(metadata)

payments = Table(
    "payments",
    metadata,
    Column("order_id", String(64), primary_key=True),
    Column("customer_id", String(200), nullable=False),
    Column("amount", Money, nullable=False),
    Column("authorized", Boolean, nullable=False),
    Column("reason", Text),
)

_insert = payments.insert()


def book(tx: Connection, decisions: Iterable[tuple[InventoryReserved, str | None]]) -> None:
    """Write the decisions on orders' payments: authorized, or declined for a reason."""
    tx.execute(
        _insert,
        [
            {
                "order_id": order.order_id,
                "customer_id": order.customer_id,
                "amount": order.total,
                "authorized": reason is None,
                "reason": reason,
            }
            for order, reason in decisions
        ],
    )
