"""The rule of payments: an order up to the limit is paid, one above it is declined."""

from __future__ import annotations

from decimal import Decimal

from shop.money import amount

# About one order in thirty of the sample day is above it.
LIMIT = Decimal(1500)


def reason_to_decline(total: Decimal) -> str | None:
    """Why a payment is refused; None when it is authorized."""
    return f"above the limit of {amount(LIMIT)} for one order" if total > LIMIT else None
