"""The events that the shop's streams write.

customer-totals   CustomerTotal
hourly-revenue    HourlyRevenue
fraud-hints       FraudHint
settlements       OrderSettled
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from ottla import event

Outcome = Literal["paid", "declined", "unpaid"]


@event("customer-totals", key="customer_id", namespace="shop")
class CustomerTotal(msgspec.Struct, frozen=True):
    """What a customer has ordered so far: how many orders, and their sum."""

    customer_id: str
    orders: int
    total: Decimal


@event("hourly-revenue", key="country", namespace="shop")
class HourlyRevenue(msgspec.Struct, frozen=True):
    """What a country has ordered in the hour that begins at `hour`, as far as is known; a later one of the same hour
    replaces it."""

    country: str
    hour: datetime
    orders: int
    revenue: Decimal


@event("fraud-hints", key="customer_id", namespace="shop")
class FraudHint(msgspec.Struct, frozen=True):
    """A customer placed more orders within an hour than people do: so many from `since` to `until`."""

    customer_id: str
    orders: int
    since: datetime
    until: datetime
    total: Decimal


@event("settlements", key="order_id", namespace="shop")
class OrderSettled(msgspec.Struct, frozen=True):
    """How the payment of an order ended, and what its customer has ordered by then, this order included.

    `outcome` is paid, declined, or unpaid: nothing was heard of a payment in time. `amount` is what was paid.
    """

    order_id: str
    customer_id: str
    country: str
    total: Decimal
    outcome: str
    amount: Decimal
    customer_orders: int
    customer_total: Decimal
