"""The rules of taking orders: what is a valid invoice, which order a cancellation means, and how an order stands."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum

from shop.events import (
    InventoryRejected,
    InventoryReleased,
    InventoryReserved,
    NotificationSent,
    OrderCancelled,
    OrderCreated,
    OrderLine,
    PaymentAuthorized,
    PaymentDeclined,
    ShipmentDispatched,
    ShopEvent,
    StockLine,
)
from shop.money import amount

QUANTITY_MAX = 1_000_000
PRICE_MAX = Decimal(1_000_000)
PRICE_DECIMALS_MAX = 4

# Fixed for ever: the ids of all orders follow from it, so that the same invoice is the same order wherever it is sent
# from.
_ORDERS = uuid.UUID("6f1c0a3e-6f0e-5d0b-9a43-0d2f3f1c7a52")


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a customer sent: an order, or the cancellation of one (invoice number C...)."""

    invoice_no: str
    customer_id: str
    country: str
    invoice_date: datetime
    lines: list[OrderLine]

    @property
    def is_cancellation(self) -> bool:
        return self.invoice_no.startswith("C")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an invoice is refused. `where` leads to the field, as in `("lines", 0, "quantity")`."""

    type: str
    message: str
    where: tuple[str | int, ...]


def order_id_of(invoice_no: str) -> str:
    """The id of the order that an invoice places; the same invoice number gives the same id."""
    return str(uuid.uuid5(_ORDERS, invoice_no))


def event_id_of(command_id: str) -> str:
    """The id of the one event that a command (an order, a cancellation) leads to, however often it is published."""
    return str(uuid.uuid5(_ORDERS, f"event of {command_id}"))


def faults(invoice: Invoice) -> list[Fault]:
    """Everything that is wrong with an invoice; empty when it can be accepted.

    An order line needs a description, a quantity above zero and a price above zero. A cancellation's quantities are
    below zero, because it takes back. Lines that are no goods (postage, carriage, a manual entry) follow the same
    rules.
    """
    found = []
    if not invoice.invoice_no:
        found.append(Fault("missing_invoice_no", "An invoice needs a number.", ("invoice_no",)))
    if not invoice.customer_id:
        found.append(Fault("missing_customer", "An order needs a customer: customer_id is empty.", ("customer_id",)))
    if not invoice.lines:
        found.append(Fault("no_lines", "An order needs at least one line.", ("lines",)))
    for place, line in enumerate(invoice.lines):
        found += _line_faults(line, invoice.is_cancellation, ("lines", place))
    return found


def _line_faults(line: OrderLine, cancelling: bool, where: tuple[str | int, ...]) -> list[Fault]:
    found = []
    article = line.stock_code or "the article"
    if not line.stock_code:
        found.append(Fault("missing_stock_code", "A line needs a stock code.", (*where, "stock_code")))
    if not line.description:
        found.append(Fault("empty_description", f"The description of {article} is empty.", (*where, "description")))
    if (problem := _quantity_problem(line.quantity, cancelling)) is not None:
        found.append(Fault(problem[0], f"{problem[1]}; for {article} it is {line.quantity}.", (*where, "quantity")))
    if (problem := _price_problem(line.unit_price)) is not None:
        found.append(Fault(problem[0], f"{problem[1]}; for {article} it is {line.unit_price}.", (*where, "unit_price")))
    return found


def _quantity_problem(quantity: int, cancelling: bool) -> tuple[str, str] | None:
    if quantity == 0:
        return "zero_quantity", "The quantity must not be zero"
    if abs(quantity) > QUANTITY_MAX:
        return "quantity_out_of_range", f"The quantity must be at most {QUANTITY_MAX}"
    if cancelling and quantity > 0:
        return "positive_quantity", "A cancellation takes back, so its quantity must be below zero"
    if not cancelling and quantity < 0:
        return "negative_quantity", "The quantity of an order must be above zero (only an invoice C... takes back)"
    return None


def _price_problem(price: Decimal) -> tuple[str, str] | None:
    if price <= 0:
        return "price_not_positive", "The price must be above zero"
    if price > PRICE_MAX:
        return "price_out_of_range", f"The price must be at most {PRICE_MAX}"
    if round(price, PRICE_DECIMALS_MAX) != price:
        return "price_too_fine", f"A price has at most {PRICE_DECIMALS_MAX} decimals"
    return None


def total(lines: Iterable[OrderLine]) -> Decimal:
    """The sum of quantity times price, exactly."""
    return sum((line.quantity * line.unit_price for line in lines), Decimal(0))


def pieces(lines: Iterable[OrderLine | StockLine]) -> dict[str, int]:
    """How many of each article; a cancellation's quantities count as positive numbers."""
    counted: Counter[str] = Counter()
    for line in lines:
        counted[line.stock_code] += abs(line.quantity)
    return dict(counted)


def covers(remaining: Mapping[str, int], wanted: Mapping[str, int]) -> bool:
    """Whether an order still has everything that a cancellation takes back."""
    return all(remaining.get(stock_code, 0) >= quantity for stock_code, quantity in wanted.items())


def without(remaining: Mapping[str, int], wanted: Mapping[str, int]) -> dict[str, int]:
    """What is left of an order after a cancellation; empty when it was the whole of it."""
    left = {stock_code: quantity - wanted.get(stock_code, 0) for stock_code, quantity in remaining.items()}
    return {stock_code: quantity for stock_code, quantity in left.items() if quantity > 0}


def created(invoice: Invoice) -> OrderCreated:
    """The event of a valid order."""
    return OrderCreated(
        order_id=order_id_of(invoice.invoice_no),
        invoice_no=invoice.invoice_no,
        customer_id=invoice.customer_id,
        country=invoice.country,
        invoice_date=invoice.invoice_date,
        lines=invoice.lines,
        total=total(invoice.lines),
    )


class Progress(IntEnum):
    """How an order stands. Of all that happened to an order, the highest counts.

    So the standing is a maximum over a set: neither the sequence in which the events of five topics arrive nor an event
    that arrives twice can change it.
    """

    accepted = 0
    reserved = 1
    paid = 2
    out_of_stock = 3
    declined = 4
    shipped = 5
    cancelled = 6

    @property
    def final(self) -> bool:
        """Whether the order has reached its end (a later cancellation may still take it back)."""
        return self >= Progress.out_of_stock


_PROGRESS: dict[type[ShopEvent], Progress] = {
    OrderCreated: Progress.accepted,
    InventoryReserved: Progress.reserved,
    PaymentAuthorized: Progress.paid,
    InventoryRejected: Progress.out_of_stock,
    PaymentDeclined: Progress.declined,
    ShipmentDispatched: Progress.shipped,
}


def progress_of(event: ShopEvent) -> Progress:
    """How far one event, by itself, brings its order."""
    if isinstance(event, OrderCancelled):
        return Progress.cancelled if event.whole else Progress.accepted
    return _PROGRESS.get(type(event), Progress.accepted)


def standing(events: Iterable[ShopEvent]) -> Progress:
    """How an order stands after a set of events, in whatever sequence, with whatever repetitions."""
    return max(map(progress_of, events), default=Progress.accepted)


def detail_of(event: ShopEvent) -> str:
    """What an event says about an order's history, in a few words."""
    match event:
        case OrderCreated():
            return f"{len(event.lines)} lines, total {amount(event.total)}"
        case OrderCancelled():
            taken = sum(line.quantity for line in event.lines)
            return "the whole order" if event.whole else f"{taken} pieces of {len(event.lines)} articles"
        case InventoryReserved():
            return f"{sum(line.quantity for line in event.lines)} pieces set aside"
        case InventoryRejected():
            return event.reason
        case InventoryReleased():
            return f"{sum(line.quantity for line in event.lines)} pieces back on the shelf: {event.reason}"
        case PaymentAuthorized():
            return amount(event.amount)
        case PaymentDeclined():
            return f"{amount(event.amount)}: {event.reason}"
        case ShipmentDispatched():
            return f"parcel {event.parcel_no}"
        case NotificationSent():
            return event.text
