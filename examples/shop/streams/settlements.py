"""How each order was settled: the order, joined with what became of its payment, enriched with its customer.

Both are keyed by order, and met within an hour by the shop's clock. An order of whose payment nothing was heard by then
(none was asked for, as nothing was in stock) comes out as unpaid. What is joined goes by customer to where the
customers' totals are, and out by order again.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec

from ottla.streams import KStream, KTable, within
from shop.events import OrderCreated, PaymentAuthorized, PaymentDeclined
from shop.streams.results import OrderSettled
from shop.streams.totals import Total

IN_TIME = within(timedelta(hours=1), grace=timedelta(minutes=10))
Payment = PaymentAuthorized | PaymentDeclined
NOTHING = Decimal(0)


class Settlement(msgspec.Struct, frozen=True):
    """An order and what became of its payment."""

    order_id: str
    customer_id: str
    country: str
    total: Decimal
    outcome: str
    amount: Decimal


def settlements(
    orders: KStream[str, OrderCreated], payments: KStream[str, Payment], customers: KTable[str, Total]
) -> None:
    """Adds the settlements, enriched with the customers' totals."""
    settled = orders.left_join(payments, settle, IN_TIME, name="order-payment")
    (
        settled.select_key(lambda _, one: one.customer_id, key=str, name="settled-by-customer")
        .left_join(customers, enrich, name="settled-customer")
        .select_key(lambda _, one: one.order_id, key=str, name="settled-by-order")
        .to(OrderSettled, name="settlements")
    )


def settle(order: OrderCreated, payment: Payment | None) -> Settlement:
    match payment:
        case PaymentAuthorized():
            outcome, amount = "paid", payment.amount
        case PaymentDeclined():
            outcome, amount = "declined", NOTHING
        case None:
            outcome, amount = "unpaid", NOTHING
    return Settlement(order.order_id, order.customer_id, order.country, order.total, outcome, amount)


def enrich(settled: Settlement, customer: Total | None) -> OrderSettled:
    known = customer or Total(0, NOTHING)
    return OrderSettled(
        settled.order_id,
        settled.customer_id,
        settled.country,
        settled.total,
        settled.outcome,
        settled.amount,
        known.orders,
        known.total,
    )
