"""The orders database: the commands that were accepted, and the read model built from everybody's events.

The two halves do not touch. A row of `commands` is written when an invoice is accepted, with its event in the outbox;
the read model is written only by events, as another service's would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    case,
    select,
)
from sqlalchemy.engine import Connection, Row

from ottla import Context
from shop.events import OrderCreated, ShopEvent
from shop.money_column import Money
from shop.orders import domain
from shop.store import handled_table
from shop.upsert import Upsert

metadata = MetaData()
handled = handled_table(metadata)

commands = Table(
    "commands",
    metadata,
    # Counts up with acceptance.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("command_id", String(64), nullable=False, unique=True),
    Column("order_id", String(64), nullable=False, index=True),
    Column("customer_id", String(200), nullable=False),
    Column("invoice_no", String(40)),
    Column("invoice_date", DateTime(timezone=True)),
    Column("fingerprint", String(64), nullable=False),
    Column("event_type", String(80), nullable=False),
    Column("event", Text, nullable=False),
    Column("accepted_at", DateTime(timezone=True), nullable=False),
    # Of an order: the pieces that no cancellation has taken back yet, as JSON {stock_code: quantity}.
    Column("remaining", Text),
)
Index("commands_of_customer", commands.c.customer_id, commands.c.invoice_date)

orders = Table(
    "orders",
    metadata,
    Column("order_id", String(64), primary_key=True),
    Column("invoice_no", String(40)),
    Column("customer_id", String(200)),
    Column("country", String(200)),
    Column("total", Money),
    Column("progress", Integer, nullable=False),
)
Index("orders_by_progress", orders.c.progress, orders.c.order_id)

history = Table(
    "history",
    metadata,
    Column("event_id", String(64), primary_key=True),
    Column("order_id", String(64), nullable=False, index=True),
    Column("event_type", String(80), nullable=False),
    Column("time", DateTime(timezone=True), nullable=False),
    Column("detail", Text, nullable=False),
)

# --- commands

_insert_command = Upsert(commands, key=[commands.c.command_id])
_command = select(commands).where(commands.c.command_id == bindparam("id"))
_orders_of_customer = (
    select(commands.c.command_id, commands.c.remaining)
    .where(
        commands.c.customer_id == bindparam("customer"),
        commands.c.invoice_date <= bindparam("until"),
        commands.c.event_type == OrderCreated.__name__,
        commands.c.remaining != "{}",
    )
    .order_by(commands.c.invoice_date.desc(), commands.c.invoice_no.desc())
)
_set_remaining = (
    commands.update().where(commands.c.command_id == bindparam("id")).values(remaining=bindparam("still_remaining"))
)


def command(connection: Connection, command_id: str) -> Row[Any] | None:
    """The accepted command with this id."""
    return connection.execute(_command, {"id": command_id}).first()


def insert_command(tx: Connection, **values: Any) -> bool:
    """Book an accepted command; False, and nothing written, if one with this id is booked already."""
    return _insert_command.run(tx, {"accepted_at": datetime.now(UTC), **values}) == 1


def orders_to_cancel(tx: Connection, customer_id: str, until: datetime) -> Iterable[Row[Any]]:
    """The customer's orders (id, remaining) of which something remains, the newest first, none later than `until`."""
    return tx.execute(_orders_of_customer, {"customer": customer_id, "until": until})


def set_remaining(tx: Connection, order_id: str, remaining: str) -> None:
    """Note what cancellations have left of an order."""
    tx.execute(_set_remaining, {"id": order_id, "still_remaining": remaining})


# --- read model

_insert_history = history.insert()
_note_order = Upsert(
    orders,
    lambda new: {
        "invoice_no": new.invoice_no,
        "customer_id": new.customer_id,
        "country": new.country,
        "total": new.total,
    },
)
_advance_order = Upsert(
    orders,
    lambda new: {"progress": case((new.progress > orders.c.progress, new.progress), else_=orders.c.progress)},
)
_order = select(orders).where(orders.c.order_id == bindparam("id"))
_history = select(history).where(history.c.order_id == bindparam("id")).order_by(history.c.time, history.c.event_id)
_page = (
    select(orders).where(orders.c.order_id > bindparam("after")).order_by(orders.c.order_id).limit(bindparam("limit"))
)
_page_by_progress = _page.where(orders.c.progress == bindparam("progress"))


def project(tx: Connection, events: Sequence[ShopEvent], ctxs: Sequence[Context]) -> list[None]:
    """Let the read model follow events. Their sequence does not matter, so it is not kept here."""
    tx.execute(_insert_history, list(map(_history_row, events, ctxs)))
    created = [_order_row(event) for event in events if isinstance(event, OrderCreated)]
    if created:
        _note_order.run(tx, created)
    progress = ((event.order_id, domain.progress_of(event)) for event in events)
    advanced = [{"order_id": id_, "progress": far} for id_, far in progress if far > domain.Progress.accepted]
    if advanced:
        _advance_order.run(tx, advanced)
    return [None] * len(events)


def _history_row(event: ShopEvent, ctx: Context) -> dict[str, Any]:
    return {
        "event_id": ctx.event_id,
        "order_id": event.order_id,
        "event_type": type(event).__name__,
        "time": ctx.timestamp,
        "detail": domain.detail_of(event),
    }


def _order_row(event: OrderCreated) -> dict[str, Any]:
    return {
        "order_id": event.order_id,
        "invoice_no": event.invoice_no,
        "customer_id": event.customer_id,
        "country": event.country,
        "total": event.total,
        "progress": domain.Progress.accepted,
    }


def order(connection: Connection, order_id: str) -> Row[Any] | None:
    """An order as its events have left it."""
    return connection.execute(_order, {"id": order_id}).first()


def history_of(connection: Connection, order_id: str) -> Sequence[Row[Any]]:
    """What happened to an order, oldest first."""
    return connection.execute(_history, {"id": order_id}).all()


def page_of_orders(
    connection: Connection, progress: domain.Progress | None, limit: int, after: str
) -> Sequence[Row[Any]]:
    """Up to `limit` orders whose id comes after `after`, by id; all, or those that stand at `progress`."""
    if progress is None:
        return connection.execute(_page, {"limit": limit, "after": after}).all()
    return connection.execute(_page_by_progress, {"limit": limit, "after": after, "progress": progress}).all()
