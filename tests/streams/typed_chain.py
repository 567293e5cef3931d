"""What mypy knows along a chain: tests/streams/test_types.py checks every `assert_type`, and runs it as it stands."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, assert_type

import msgspec

from ottla import event
from ottla.streams import Count, KStream, KTable, StreamsBuilder, Sum, Windowed, session, tumbling, within
from ottla.streams.dsl.global_table import GlobalTable


@event("typed-orders", key="order_id")
class Order(msgspec.Struct):
    order_id: str
    customer_id: str
    total: Decimal


@event("typed-payments", key="order_id")
class Payment(msgspec.Struct):
    order_id: str
    amount: Decimal


@event("typed-customers", key="customer_id")
class Customer(msgspec.Struct):
    customer_id: str
    country: str


class Totals(msgspec.Struct):
    orders: int
    total: Decimal


def owed(order: Order, payment: Payment | None) -> Decimal:
    return order.total - (payment.amount if payment else 0)


def paid(order: Order, payment: Payment) -> Decimal:
    return payment.amount


def country(order: Order, customer: Customer | None) -> str:
    return customer.country if customer else "?"


builder = StreamsBuilder()
orders = builder.stream(Order)
assert_type(orders, KStream[str, Order])
assert_type(orders.filter(lambda k, v: v.total > 0), KStream[str, Order])
assert_type(orders.map_values(lambda v: v.total), KStream[str, Decimal])
assert_type(orders.map(lambda k, v: (v.customer_id, v.total)), KStream[str, Decimal])
assert_type(orders.flat_map_values(lambda v: [1, 2]), KStream[str, int])
assert_type(orders.select_key(lambda k, v: v.total), KStream[Decimal, Order])
assert_type(orders.select_key("customer_id"), KStream[Any, Order])
assert_type(orders.select_key("customer_id", key=str), KStream[str, Order])
by_customer = orders.group_by("customer_id", key=str)
assert_type(by_customer.count(), KTable[str, int])
assert_type(by_customer.aggregate(Sum[Decimal]("total"), name="sum"), KTable[str, Decimal])
assert_type(by_customer.aggregate(lambda: 0, lambda k, v, n: n + 1, name="function"), KTable[str, int])
assert_type(by_customer.summarise(Totals, orders=Count(), total=Sum("total")), KTable[str, Totals])
assert_type(by_customer.windowed_by(tumbling(timedelta(hours=1))).count(), KTable[Windowed[str], int])
assert_type(by_customer.windowed_by(session(timedelta(hours=1))).count(name="session"), KTable[Windowed[str], int])
payments = builder.stream(Payment)
assert_type(orders.join(payments, paid, within(timedelta(minutes=1))), KStream[str, Decimal])
assert_type(orders.left_join(payments, owed, within(timedelta(minutes=1))), KStream[str, Decimal])
customers = builder.global_table(Customer)
assert_type(customers, GlobalTable[str, Customer])
assert_type(orders.left_join(customers, country, by=lambda k, v: v.customer_id), KStream[str, str])
rows = orders.to_table()
assert_type(rows, KTable[str, Order])
assert_type(rows.map_values(lambda v: v.total, value=Decimal), KTable[str, Decimal])
assert_type(rows.to_stream(), KStream[str, Order])
assert_type(builder.stream("numbers", key=str, value=int), KStream[str, int])
builder.build()
