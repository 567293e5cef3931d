"""What was done: what each service's own database says, read through SQLAlchemy.

Each service has one class here, which holds what the audit compares. A database or table that does not exist yet holds
nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import TracebackType
from typing import Any

import msgspec
from sqlalchemy import Executable, Table, func, inspect, select
from sqlalchemy.engine import Connection

from shop.inventory import tables as inventory_tables
from shop.inventory.domain import Kind
from shop.notifications import tables as notifications_tables
from shop.orders import domain as orders_domain
from shop.orders import tables as orders_tables
from shop.payments import tables as payments_tables
from shop.shipping import tables as shipping_tables
from shop.store import open_engine

Pieces = dict[str, int]


@dataclass
class Handled:
    """The events a service booked as handled: id to (type, type of the answer or None)."""

    rows: dict[str, tuple[str, str | None]] = field(default_factory=dict)

    def of(self, type_name: str) -> set[str]:
        return {event_id for event_id, (kind, _) in self.rows.items() if kind == type_name}

    def answered_with(self, type_name: str) -> set[str]:
        return {event_id for event_id, (_, answer) in self.rows.items() if answer == type_name}


@dataclass
class OrdersLedger:
    """Commands by class name of their event: event id to (order id, invoice number); and the read model: its history,
    how each order stands, and each customer's number of orders and their sum."""

    handled: Handled = field(default_factory=Handled)
    commands: dict[str, dict[str, tuple[str, str | None]]] = field(default_factory=lambda: defaultdict(dict))
    history: set[str] = field(default_factory=set)
    progress: dict[str, str] = field(default_factory=dict)
    totals: dict[str, tuple[int, Decimal]] = field(default_factory=dict)

    @property
    def invoices(self) -> set[str]:
        return {number for rows in self.commands.values() for _, number in rows.values() if number}


@dataclass
class InventoryLedger:
    """Reservations by state; by order, what the stock ledger says was set aside and put back; the shelf."""

    handled: Handled = field(default_factory=Handled)
    reservations: dict[str, tuple[str, Pieces]] = field(default_factory=dict)
    taken: dict[str, Pieces] = field(default_factory=lambda: defaultdict(dict))
    put_back: dict[str, Pieces] = field(default_factory=lambda: defaultdict(dict))
    on_hand: Pieces = field(default_factory=dict)
    moved: Pieces = field(default_factory=dict)


@dataclass
class PaymentsLedger:
    """Orders paid and orders declined."""

    handled: Handled = field(default_factory=Handled)
    authorized: set[str] = field(default_factory=set)
    declined: set[str] = field(default_factory=set)


@dataclass
class ShippingLedger:
    """Orders that left as a parcel."""

    handled: Handled = field(default_factory=Handled)
    dispatched: set[str] = field(default_factory=set)


@dataclass
class NotificationsLedger:
    """Ids of the events that customers were told of."""

    handled: Handled = field(default_factory=Handled)
    sent: set[str] = field(default_factory=set)


@dataclass
class Ledgers:
    """All five databases."""

    orders: OrdersLedger = field(default_factory=OrdersLedger)
    inventory: InventoryLedger = field(default_factory=InventoryLedger)
    payments: PaymentsLedger = field(default_factory=PaymentsLedger)
    shipping: ShippingLedger = field(default_factory=ShippingLedger)
    notifications: NotificationsLedger = field(default_factory=NotificationsLedger)

    def handled(self) -> dict[str, Handled]:
        """By service."""
        return {
            "orders": self.orders.handled,
            "inventory": self.inventory.handled,
            "payments": self.payments.handled,
            "shipping": self.shipping.handled,
            "notifications": self.notifications.handled,
        }


def read_ledgers(database_urls: Mapping[str, str]) -> Ledgers:
    """Reads the databases of all services, given their URLs by service name."""
    ledgers = Ledgers()
    for service, fill in _READERS.items():
        with Book(database_urls[service]) as book:
            fill(ledgers, book)
    return ledgers


class Book:
    """One service's database, open for reading."""

    def __init__(self, database_url: str) -> None:
        self._engine = open_engine(database_url)
        self._connection: Connection | None = None
        self._tables: frozenset[str] = frozenset()

    def __enter__(self) -> Book:
        self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._tables = frozenset(inspect(self._connection).get_table_names())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()

    def rows(self, table: Table, query: Executable) -> Iterator[Any]:
        """The rows of a query on `table`; none if the table was never created."""
        if self._connection is not None and table.name in self._tables:
            yield from self._connection.execution_options(stream_results=True).execute(query)


def _handled(book: Book, table: Table) -> Handled:
    query = select(table.c.event_id, table.c.event_type, table.c.answer_type)
    return Handled({event_id: (kind, answer) for event_id, kind, answer in book.rows(table, query)})


def _read_orders(ledgers: Ledgers, book: Book) -> None:
    tables, orders = orders_tables, ledgers.orders
    orders.handled = _handled(book, tables.handled)
    commands = tables.commands.c
    query = select(commands.command_id, commands.event_type, commands.order_id, commands.invoice_no)
    for command_id, kind, order_id, invoice_no in book.rows(tables.commands, query):
        orders.commands[kind][orders_domain.event_id_of(command_id)] = order_id, invoice_no
    orders.history = {event_id for (event_id,) in book.rows(tables.history, select(tables.history.c.event_id))}
    shown = tables.orders.c
    query = select(shown.order_id, shown.progress, shown.customer_id, shown.total)
    for order_id, progress, customer_id, total in book.rows(tables.orders, query):
        orders.progress[order_id] = orders_domain.Progress(progress).name
        if customer_id is not None:
            count, so_far = orders.totals.get(customer_id, (0, Decimal(0)))
            orders.totals[customer_id] = count + 1, so_far + total


def _read_inventory(ledgers: Ledgers, book: Book) -> None:
    tables, inventory = inventory_tables, ledgers.inventory
    inventory.handled = _handled(book, tables.handled)
    reservations, ledger, stock = tables.reservations.c, tables.ledger.c, tables.stock.c
    query = select(reservations.order_id, reservations.state, reservations.pieces)
    for order_id, state, pieces in book.rows(tables.reservations, query):
        inventory.reservations[order_id] = state, msgspec.json.decode(pieces, type=Pieces)
    totals = select(ledger.order_id, ledger.stock_code, ledger.kind, func.sum(ledger.quantity))
    totals = totals.where(ledger.kind.in_([Kind.reserved.value, Kind.released.value]))
    for order_id, code, kind, quantity in book.rows(
        tables.ledger, totals.group_by(ledger.order_id, ledger.stock_code, ledger.kind)
    ):
        if kind == Kind.reserved.value:
            inventory.taken[order_id][code] = -int(quantity)
        else:
            inventory.put_back[order_id][code] = int(quantity)
    moved = book.rows(tables.ledger, select(ledger.stock_code, func.sum(ledger.quantity)).group_by(ledger.stock_code))
    inventory.moved = {code: int(quantity) for code, quantity in moved}
    shelf = book.rows(tables.stock, select(stock.stock_code, stock.on_hand))
    inventory.on_hand = {code: int(quantity) for code, quantity in shelf}


def _read_payments(ledgers: Ledgers, book: Book) -> None:
    tables, payments = payments_tables, ledgers.payments
    payments.handled = _handled(book, tables.handled)
    query = select(tables.payments.c.order_id, tables.payments.c.authorized)
    for order_id, authorized in book.rows(tables.payments, query):
        (payments.authorized if authorized else payments.declined).add(order_id)


def _read_shipping(ledgers: Ledgers, book: Book) -> None:
    tables, shipping = shipping_tables, ledgers.shipping
    shipping.handled = _handled(book, tables.handled)
    query = select(tables.shipments.c.order_id).where(tables.shipments.c.parcel_no.is_not(None))
    shipping.dispatched = {order_id for (order_id,) in book.rows(tables.shipments, query)}


def _read_notifications(ledgers: Ledgers, book: Book) -> None:
    tables, notifications = notifications_tables, ledgers.notifications
    notifications.handled = _handled(book, tables.handled)
    notifications.sent = {event_id for (event_id,) in book.rows(tables.sent, select(tables.sent.c.event_id))}


_READERS = {
    "orders": _read_orders,
    "inventory": _read_inventory,
    "payments": _read_payments,
    "shipping": _read_shipping,
    "notifications": _read_notifications,
}
