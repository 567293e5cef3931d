"""The aggregate: how an order lives.

Of all that is said of an order the highest counts (`Progress`): the services speak on topics of their own, and who is
heard first is chance. So an order may be advanced before it is heard to be placed, and what would take it backwards
has no event.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from ottla import Aggregate
from shop.lifecycle.events import AdvanceOrder, OrderAdvanced, OrderPlaced, PiecesTakenBack, PlaceOrder, TakeBack
from shop.orders.domain import Progress

CANCELLED = Progress.cancelled.name


class Order(msgspec.Struct):
    """An order as its events have left it. `pieces` is what of it was not taken back; the details are None before its
    own event was seen."""

    status: str = Progress.accepted.name
    invoice_no: str | None = None
    customer_id: str | None = None
    country: str | None = None
    total: Decimal | None = None
    pieces: int = 0
    detail: str = ""


orders = Aggregate("order", Order)


@orders.applies
def placed(order: Order | None, event: OrderPlaced) -> Order:
    order = order or Order()
    order.invoice_no, order.customer_id, order.country = event.invoice_no, event.customer_id, event.country
    order.total = event.total
    order.pieces += event.pieces
    return order


@orders.applies
def advanced(order: Order | None, event: OrderAdvanced) -> Order:
    order = order or Order()
    order.status, order.detail = event.status, event.detail
    return order


@orders.applies
def taken_back(order: Order | None, event: PiecesTakenBack) -> Order:
    order = order or Order()
    order.pieces -= event.pieces
    return order


@orders.decides
def place(order: Order | None, command: PlaceOrder) -> OrderPlaced | None:
    if order is not None and order.invoice_no is not None:
        return None
    return OrderPlaced(
        command.order_id, command.invoice_no, command.customer_id, command.country, command.total, command.pieces
    )


@orders.decides
def advance(order: Order | None, command: AdvanceOrder) -> OrderAdvanced | None:
    stands = Progress[order.status] if order else Progress.accepted
    if Progress[command.status] <= stands:
        return None
    return OrderAdvanced(command.order_id, command.status, command.detail)


@orders.decides
def take_back(order: Order | None, command: TakeBack) -> list[PiecesTakenBack | OrderAdvanced]:
    happened: list[PiecesTakenBack | OrderAdvanced] = [PiecesTakenBack(command.order_id, command.pieces)]
    if command.whole and (order is None or order.status != CANCELLED):
        happened.append(OrderAdvanced(command.order_id, CANCELLED, "the whole order"))
    return happened
