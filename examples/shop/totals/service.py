"""The running total per customer, from every order that was placed: `ottla run shop.totals.service:app`.

Orders are keyed by order, totals by customer: the orders go through a repartition topic, so that all of a customer
meet in one task. The totals are kept in the store `customer-totals` and told on the topic of the same name, exactly
once, whatever crashes; `GET /state/customer-totals/key/17850` asks for one ([orders, total]), on whichever instance.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from ottla import StreamsApp, event
from ottla.streams import Count, StreamsBuilder, Sum
from shop.events import OrderCreated


@event("customer-totals", key="customer_id", namespace="shop")
class CustomerTotal(msgspec.Struct, frozen=True):
    """What a customer has ordered so far: how many orders, and their sum."""

    customer_id: str
    orders: int
    total: Decimal


class Total(msgspec.Struct, frozen=True):
    """The same within the application, where the customer is the key."""

    orders: int
    total: Decimal


builder = StreamsBuilder()
(
    builder.stream(OrderCreated, name="orders")
    .group_by("customer_id", name="by-customer")
    .summarise(Total, orders=Count(), total=Sum("total"), store="customer-totals")
    .to_stream(name="changes")
    .map_values_with_key(lambda customer, value: CustomerTotal(customer, value.orders, value.total), name="told")
    .to(CustomerTotal, name="customer-totals")
)

app = StreamsApp("customer-totals", builder)
