"""A hint of fraud: more orders of one customer within an hour than people place.

Sliding windows hold every set of a customer's orders that are at most an hour apart. Of each set that is too large, the
one that ends with an order is told: "this order is the seventh within an hour". A set that grows because an order came
late is told again; the last hint of a customer and an `until` counts.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from ottla.streams import Count, KStream, Max, Min, Sum, Windowed, sliding
from shop.events import OrderCreated
from shop.streams.dates import LATE, kept, told_now
from shop.streams.results import FraudHint

WITHIN = timedelta(hours=1)
ORDERS_MAX = 5


class Burst(msgspec.Struct, frozen=True):
    """A customer's orders that are at most an hour apart."""

    orders: int
    since: datetime
    until: datetime
    total: Decimal


def fraud_hints(dated: KStream[str, OrderCreated]) -> None:
    """Adds the hints; `dated` are orders by the time of their invoices."""
    bursts = (
        dated.group_by("customer_id", key=str, name="bursts-by-customer")
        .windowed_by(sliding(WITHIN, grace=LATE))
        .summarise(
            Burst,
            orders=Count(),
            since=Min("invoice_date"),
            until=Max("invoice_date"),
            total=Sum("total"),
            store=kept("bursts"),
        )
    )
    hints = bursts.to_stream(name="bursts-changed").filter(suspicious, name="suspicious")
    told_now(hints.map(told, name="hints-told"), "hints-now").to(FraudHint, name="fraud-hints")


def suspicious(span: Windowed[str], burst: Burst) -> bool:
    # Other windows hold the same orders, or some of them, and end later than the last.
    return burst.orders > ORDERS_MAX and burst.until == span.window.end


def told(span: Windowed[str], burst: Burst) -> tuple[str, FraudHint]:
    return span.key, FraudHint(span.key, burst.orders, burst.since, burst.until, burst.total)
