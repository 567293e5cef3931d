"""The inventory's database: what is on hand, the ledger of how it came to be, and what is set aside for whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, Text, bindparam, select
from sqlalchemy.engine import Connection

from shop.inventory.domain import Movement
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

# `state`: reserved; rejected; or cancelled, when a cancellation was seen before its order.
# `pieces`: what is still set aside, or of a cancelled order what was taken back, as JSON {stock_code: quantity}.
reservations = Table(
    "reservations",
    metadata,
    Column("order_id", String(64), primary_key=True),
    Column("state", String(20), nullable=False),
    Column("pieces", Text, nullable=False),
)

_encode = msgspec.json.Encoder().encode
_read_pieces = msgspec.json.Decoder(dict[str, int]).decode

_on_hand = select(stock.c.stock_code, stock.c.on_hand).where(
    stock.c.stock_code.in_(bindparam("stock_codes", expanding=True))
)
_set_on_hand = Upsert(stock, lambda new: {"on_hand": new.on_hand})
_insert_ledger = ledger.insert()
_reservation = select(reservations.c.state, reservations.c.pieces).where(reservations.c.order_id == bindparam("id"))
_insert_reservation = Upsert(reservations)
_set_reservation = Upsert(reservations, lambda new: {"state": new.state, "pieces": new.pieces})


def on_hand(tx: Connection, stock_codes: Iterable[str]) -> dict[str, int]:
    """What the shelf holds of these articles; one that it has never held is missing."""
    rows = tx.execute(_on_hand, {"stock_codes": list(stock_codes)})
    return {row.stock_code: row.on_hand for row in rows}


def move(tx: Connection, order_id: str, movements: Iterable[Movement], before: Mapping[str, int]) -> None:
    """Write movements to the ledger, and what is then on hand.

    Args:
        order_id: The order they are for.
        movements: Lines for the ledger.
        before: What was on hand, read in this transaction.
    """
    after: dict[str, int] = {}
    rows = []
    for x in movements:
        after[x.stock_code] = after.get(x.stock_code, before.get(x.stock_code, 0)) + x.quantity
        rows.append({"stock_code": x.stock_code, "kind": x.kind.value, "quantity": x.quantity, "order_id": order_id})
    if rows:
        tx.execute(_insert_ledger, rows)
        _set_on_hand.run(tx, [{"stock_code": code, "on_hand": quantity} for code, quantity in after.items()])


def reservation(tx: Connection, order_id: str) -> tuple[str, dict[str, int]] | None:
    """The state of an order's reservation and its pieces; None for an order never seen."""
    row = tx.execute(_reservation, {"id": order_id}).first()
    return None if row is None else (row.state, _read_pieces(row.pieces))


def new_reservation(tx: Connection, order_id: str, state: str, pieces: Mapping[str, int]) -> bool:
    """Write the reservation of an order never seen; False, and nothing written, if it was seen before."""
    values = {"order_id": order_id, "state": state, "pieces": _encode(pieces).decode()}
    return _insert_reservation.run(tx, values) == 1


def set_reservation(tx: Connection, order_id: str, state: str, pieces: Mapping[str, int]) -> None:
    """Write an order's reservation, new or changed."""
    _set_reservation.run(tx, {"order_id": order_id, "state": state, "pieces": _encode(pieces).decode()})
