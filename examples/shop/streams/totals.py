"""The running total per customer.

Orders are keyed by order, totals by customer: the orders go through a repartition topic, so that all of a customer
meet in one task. The store `customer-totals` keeps [orders, total]; the topic of the same name tells every change.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from ottla.streams import Count, KStream, KTable, Sum
from shop.events import OrderCreated
from shop.streams.results import CustomerTotal


class Total(msgspec.Struct, frozen=True):
    """The same within the application, where the customer is the key."""

    orders: int
    total: Decimal


def customer_totals(orders: KStream[str, OrderCreated]) -> KTable[str, Total]:
    """Adds the running totals; gives them as a table of customers."""
    totals = orders.group_by("customer_id", key=str, name="by-customer").summarise(
        Total, orders=Count(), total=Sum("total"), store="customer-totals"
    )
    told = totals.to_stream(name="changes").map_values_with_key(
        lambda customer, value: CustomerTotal(customer, value.orders, value.total), name="told"
    )
    told.to(CustomerTotal, name="customer-totals")
    return totals
