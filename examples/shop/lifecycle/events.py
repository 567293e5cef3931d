"""What an order is told, and what happens to it.

order-commands   PlaceOrder, AdvanceOrder, TakeBack
order-lives      OrderPlaced, OrderAdvanced, PiecesTakenBack
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from ottla import event


@event("order-commands", key="order_id", namespace="shop")
class PlaceOrder(msgspec.Struct, frozen=True):
    """An order was accepted: so many pieces, for so much."""

    order_id: str
    invoice_no: str
    customer_id: str
    country: str
    total: Decimal
    pieces: int


@event("order-commands", key="order_id", namespace="shop")
class AdvanceOrder(msgspec.Struct, frozen=True):
    """A service has brought an order further: to `status`, a name of `shop.orders.domain.Progress`."""

    order_id: str
    status: str
    detail: str


@event("order-commands", key="order_id", namespace="shop")
class TakeBack(msgspec.Struct, frozen=True):
    """The customer gives pieces back; `whole` says that nothing of the order is left."""

    order_id: str
    pieces: int
    whole: bool


@event("order-lives", key="order_id", namespace="shop")
class OrderPlaced(msgspec.Struct, frozen=True):
    """An order has begun."""

    order_id: str
    invoice_no: str
    customer_id: str
    country: str
    total: Decimal
    pieces: int


@event("order-lives", key="order_id", namespace="shop")
class OrderAdvanced(msgspec.Struct, frozen=True):
    """An order stands differently now."""

    order_id: str
    status: str
    detail: str


@event("order-lives", key="order_id", namespace="shop")
class PiecesTakenBack(msgspec.Struct, frozen=True):
    """Pieces of an order came back."""

    order_id: str
    pieces: int
