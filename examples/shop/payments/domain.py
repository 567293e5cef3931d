"""The rule of payments: an order up to the limit is paid, one above it is declined."""

from __future__ import annotations

from decimal import Decimal

from shop.events import InventoryReserved, PaymentAuthorized, PaymentDeclined
from shop.money import amount

# About one order in thirty of the sample day is above it.
LIMIT = Decimal(1500)


def decision(order: InventoryReserved, reason: str | None) -> PaymentAuthorized | PaymentDeclined:
    """What the shop is told of an order's payment."""
    if reason is None:
        return PaymentAuthorized(order.order_id, order.customer_id, order.total)
    return PaymentDeclined(order.order_id, order.customer_id, order.total, reason)


def reason_to_decline(total: Decimal) -> str | None:
    """Why a payment is refused; None when it is authorized."""
    return f"above the limit of {amount(LIMIT)} for one order" if total > LIMIT else None
