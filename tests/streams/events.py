"""Events the tests of streams share."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec

from ottla.events import Digits, event

Money = Annotated[Decimal, Digits(12, 2)]


@event("orders", key="order_id")
class OrderCreated(msgspec.Struct):
    order_id: str
    customer_id: str
    total: Money
    quantity: int = 1
    note: str | None = None


@event("orders", key="order_id")
class OrderCancelled(msgspec.Struct):
    order_id: str
    reason: str


class Totals(msgspec.Struct):
    orders: int
    total: Money
    least: Money
    most: Money
    mean: Money
    noted: int | None = None


def order(number: int, customer: str = "c1", total: str = "1.00", **more: object) -> OrderCreated:
    return OrderCreated(f"o{number}", customer, Decimal(total), **more)  # type: ignore[arg-type]
