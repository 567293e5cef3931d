"""Revenue per country and hour, by the date of the invoices.

The store `hourly-revenue` answers for any country and hour; the topic tells each change, so the last one of an hour
counts. Orders more than a month late are not added any more: they are on the topic `late-orders`.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec

from ottla.streams import Count, KStream, Sum, Windowed, tumbling
from shop.events import OrderCreated
from shop.streams.dates import LATE, kept, told_now
from shop.streams.results import HourlyRevenue

HOUR = timedelta(hours=1)


class Revenue(msgspec.Struct, frozen=True):
    """The same within the application, where country and hour are the key."""

    orders: int
    total: Decimal


def hourly_revenue(dated: KStream[str, OrderCreated]) -> None:
    """Adds the revenue; `dated` are orders by the time of their invoices."""
    hours = dated.group_by("country", key=str, name="by-country").windowed_by(tumbling(HOUR, grace=LATE))
    revenue = hours.summarise(Revenue, orders=Count(), total=Sum("total"), store=kept("hourly-revenue"))
    changed = revenue.to_stream(name="hours").map(told, name="hours-told")
    told_now(changed, "hours-now").to(HourlyRevenue, name="hourly-revenue")
    told_now(hours.late_records(name="late"), "late-now").to("late-orders", name="late-orders")


def told(hour: Windowed[str], revenue: Revenue) -> tuple[str, HourlyRevenue]:
    country, window = hour
    return country, HourlyRevenue(country, window.start, revenue.orders, revenue.total)
