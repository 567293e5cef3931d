"""The shipping database: one row per order, made by whichever came first, its payment or its cancellation."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Column, MetaData, String, Table, bindparam, select
from sqlalchemy.engine import Connection

from shop.store import handled_table

metadata = MetaData()
handled = handled_table(metadata)

# `parcel_no` is empty for an order that was cancelled before it could be sent.
shipments = Table(
    "shipments",
    metadata,
    Column("order_id", String(64), primary_key=True),
    Column("parcel_no", String(40)),
)

_insert = shipments.insert()
_settled = select(shipments.c.order_id).where(shipments.c.order_id.in_(bindparam("order_ids", expanding=True)))


def settle(tx: Connection, parcels: Mapping[str, str | None]) -> set[str]:
    """Settle what becomes of orders: sent as a parcel (its number), or not sent (None).

    Returns:
        Those of the orders for which that had not been settled before.
    """
    settled = set(tx.execute(_settled, {"order_ids": list(parcels)}).scalars())
    open_ = [order_id for order_id in parcels if order_id not in settled]
    if open_:
        tx.execute(_insert, [{"order_id": order_id, "parcel_no": parcels[order_id]} for order_id in open_])
    return set(open_)
