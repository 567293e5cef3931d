"""Deciding on a command: book it, once, or say why not. Nothing here speaks to Kafka."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy.engine import Connection, Row

from shop.events import OrderCancelled, OrderCreated, StockLine
from shop.orders import domain, tables

_encode = msgspec.json.Encoder().encode
_read_pieces = msgspec.json.Decoder(dict[str, int]).decode
_EVENTS: dict[str, type[OrderCreated | OrderCancelled]] = {cls.__name__: cls for cls in (OrderCreated, OrderCancelled)}


class Refused(Exception):
    """A command that is well formed but cannot be carried out. The message is for the customer."""


class UnknownOrder(Refused):
    """There is no such order."""


class NothingToCancel(Refused):
    """A cancellation that no order of the customer covers."""


class Contradiction(Refused):
    """The command contradicts what was accepted before."""


@dataclass(frozen=True, slots=True)
class Command:
    """An accepted command, which leads to exactly one event. `is_new`: it was not accepted before."""

    command_id: str
    invoice_no: str | None
    event: OrderCreated | OrderCancelled
    is_new: bool = field(default=False, compare=False)

    @property
    def event_id(self) -> str:
        """The same at every publication, so that a repeated event is known for what it is."""
        return domain.event_id_of(self.command_id)


def accept(tx: Connection, invoice: domain.Invoice) -> Command:
    """Book a valid invoice; the same invoice again gives the command that was booked for it.

    Raises:
        Contradiction: The invoice number was used before with other content.
        NothingToCancel: No order of this customer, up to this date, has everything that the cancellation takes back.
    """
    command_id = domain.order_id_of(invoice.invoice_no)
    fingerprint = _fingerprint(invoice)
    if invoice.is_cancellation:
        booked = tables.command(tx, command_id)
        return _known(booked, fingerprint) if booked else _cancel_newest(tx, invoice, command_id, fingerprint)
    command = Command(command_id, invoice.invoice_no, domain.created(invoice), is_new=True)
    is_new = _book(
        tx,
        command,
        fingerprint=fingerprint,
        invoice_date=invoice.invoice_date,
        remaining=_encode(domain.pieces(invoice.lines)).decode(),
    )
    return command if is_new else _known(tables.command(tx, command_id), fingerprint)


def _known(booked: Row[Any] | None, fingerprint: str) -> Command:
    assert booked is not None, "found in the same transaction"
    if booked.fingerprint != fingerprint:
        raise Contradiction(
            f"Invoice {booked.invoice_no} was accepted before with other content. "
            "Send it as it was, or under a number of its own."
        )
    return restored(booked)


def cancel(tx: Connection, order_id: str) -> Command:
    """Book the cancellation of all that remains of an order; again, it gives the command that was booked.

    Raises:
        UnknownOrder: No such order was accepted.
        Contradiction: The order has ended already, or cancelling invoices have taken all of it back.
    """
    command_id = domain.order_id_of(f"cancellation of {order_id}")
    booked = tables.command(tx, command_id)
    if booked is not None:
        return restored(booked)
    order = tables.command(tx, order_id)
    if order is None or order.event_type != OrderCreated.__name__:
        raise UnknownOrder(f"There is no order {order_id}.")
    seen = tables.order(tx, order_id)
    progress = domain.Progress.accepted if seen is None else domain.Progress(seen.progress)
    remaining = _read_pieces(order.remaining)
    if progress.final or not remaining:
        ended = domain.Progress.cancelled if not remaining else progress
        raise Contradiction(f"Order {order_id} cannot be cancelled any more: it is {ended.name.replace('_', ' ')}.")
    return _cancel(tx, order, command_id, None, remaining, {}, fingerprint="")


def _cancel_newest(tx: Connection, invoice: domain.Invoice, command_id: str, fingerprint: str) -> Command:
    wanted = domain.pieces(invoice.lines)
    for row in tables.orders_to_cancel(tx, invoice.customer_id, invoice.invoice_date):
        remaining = _read_pieces(row.remaining)
        if domain.covers(remaining, wanted):
            order = tables.command(tx, row.command_id)
            assert order is not None, "read in the same transaction"
            left = domain.without(remaining, wanted)
            return _cancel(tx, order, command_id, invoice.invoice_no, wanted, left, fingerprint)
    raise NothingToCancel(
        f"Customer {invoice.customer_id} has no order up to {invoice.invoice_date:%Y-%m-%d %H:%M} "
        f"that still holds everything cancellation {invoice.invoice_no} takes back."
    )


def _cancel(
    tx: Connection,
    order: Row[Any],
    command_id: str,
    invoice_no: str | None,
    taken: dict[str, int],
    left: dict[str, int],
    fingerprint: str,
) -> Command:
    event = OrderCancelled(
        order_id=order.order_id,
        invoice_no=invoice_no,
        customer_id=order.customer_id,
        lines=[StockLine(stock_code, quantity) for stock_code, quantity in taken.items()],
        whole=not left,
    )
    tables.set_remaining(tx, order.order_id, _encode(left).decode())
    command = Command(command_id, invoice_no, event, is_new=True)
    _book(tx, command, fingerprint=fingerprint)
    return command


def _book(tx: Connection, command: Command, **values: Any) -> bool:
    return tables.insert_command(
        tx,
        command_id=command.command_id,
        order_id=command.event.order_id,
        customer_id=command.event.customer_id,
        invoice_no=command.invoice_no,
        event_type=type(command.event).__name__,
        event=_encode(command.event).decode(),
        **{"invoice_date": None, "remaining": None, **values},
    )


def restored(row: Row[Any]) -> Command:
    """The command that a row of the table `commands` holds."""
    event = msgspec.json.decode(row.event, type=_EVENTS[row.event_type])
    return Command(row.command_id, row.invoice_no, event)


def _fingerprint(invoice: domain.Invoice) -> str:
    """Equal for equal content, however the prices are written (2.5 or 2.50)."""
    lines = [(x.stock_code, x.description, x.quantity, x.unit_price.normalize()) for x in invoice.lines]
    content = (invoice.invoice_no, invoice.customer_id, invoice.country, invoice.invoice_date, lines)
    return hashlib.sha256(_encode(content)).hexdigest()
