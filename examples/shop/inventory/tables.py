"""The inventory's database: what is on hand, the ledger of how it came to be, and what is set aside for whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, Text, bindparam, select
from sqlalchemy.engine import Connection

from shop.inventory.domain import Movement, Reservation
from shop.store import handled_table
from shop.upsert import Upsert

metadata = MetaData()
handled = handled_table(metadata)

stock = Table(
    "stock",
    metadata,
    Column("stock_code", String(40), primary_key=True),
    Column("on_hand", BigInteger, nullable=False),
)

# The sum of an article's quantities is its stock.on_hand, always.
ledger = Table(
    "ledger",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("stock_code", String(40), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("order_id", String(64), nullable=False),
)

# See `domain.Reservation`; `pieces` is JSON {stock_code: quantity}.
reservations = Table(
    "reservations",
    metadata,
    Column("order_id", String(64), primary_key=True),
    Column("state", String(20), nullable=False),
    Column("pieces", Text, nullable=False),
)

# Databases take only so many parameters in one statement.
_CODES_MAX = 1000

_encode = msgspec.json.Encoder().encode
_read_pieces = msgspec.json.Decoder(dict[str, int]).decode

_on_hand = select(stock.c.stock_code, stock.c.on_hand).where(
    stock.c.stock_code.in_(bindparam("stock_codes", expanding=True))
)
_set_on_hand = Upsert(stock, lambda new: {"on_hand": new.on_hand})
_insert_ledger = ledger.insert()
_reservations = select(reservations).where(reservations.c.order_id.in_(bindparam("order_ids", expanding=True)))
_set_reservation = Upsert(reservations, lambda new: {"state": new.state, "pieces": new.pieces})


def on_hand(tx: Connection, stock_codes: Iterable[str]) -> dict[str, int]:
    """What the shelf holds of these articles; one that it has never held is missing."""
    codes = list(stock_codes)
    found: dict[str, int] = {}
    for start in range(0, len(codes), _CODES_MAX):
        rows = tx.execute(_on_hand, {"stock_codes": codes[start : start + _CODES_MAX]})
        found |= {row.stock_code: row.on_hand for row in rows}
    return found


def write_movements(tx: Connection, movements: Iterable[tuple[str, Movement]], on_hand: Mapping[str, int]) -> None:
    """Write movements to the ledger, each with the order it is for, and what is on hand after them."""
    rows: list[dict[str, Any]] = [
        {"stock_code": x.stock_code, "kind": x.kind.value, "quantity": x.quantity, "order_id": order_id}
        for order_id, x in movements
    ]
    if rows:
        tx.execute(_insert_ledger, rows)
        moved = dict.fromkeys(row["stock_code"] for row in rows)
        _set_on_hand.run(tx, [{"stock_code": code, "on_hand": on_hand[code]} for code in moved])


def reservations_of(tx: Connection, order_ids: Iterable[str]) -> dict[str, Reservation]:
    """The reservations of these orders; an order never seen is missing."""
    rows = tx.execute(_reservations, {"order_ids": list(order_ids)})
    return {row.order_id: Reservation(row.state, _read_pieces(row.pieces)) for row in rows}


def write_reservations(tx: Connection, changed: Mapping[str, Reservation]) -> None:
    """Write orders' reservations, new or changed."""
    if changed:
        rows = [
            {"order_id": order_id, "state": x.state, "pieces": _encode(x.pieces).decode()}
            for order_id, x in changed.items()
        ]
        _set_reservation.run(tx, rows)
