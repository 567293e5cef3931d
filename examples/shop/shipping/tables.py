"""The shipping database: one row per order, made by whichever came first, its payment or its cancellation."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String, Table
from sqlalchemy.engine import Connection

from shop.store import handled_table
from shop.upsert import Upsert

metadata = MetaData()
handled = handled_table(metadata)

# `parcel_no` is empty for an order that was cancelled before it could be sent.
shipments = Table(
    "shipments",
    metadata,
    Column("order_id", String(64), primary_key=True),
    Column("parcel_no", String(40)),
)

_insert = Upsert(shipments)


def claim(tx: Connection, order_id: str, parcel_no: str | None) -> bool:
    """Settle what becomes of an order: sent as a parcel, or not sent. False if that was settled before."""
    return _insert.run(tx, {"order_id": order_id, "parcel_no": parcel_no}) == 1
