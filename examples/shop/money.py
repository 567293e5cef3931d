"""Amounts of money, for people to read."""

from __future__ import annotations

from decimal import Decimal


def amount(money: Decimal) -> str:
    """An amount with two decimals, or up to four where a price is that fine."""
    return f"{money:.4f}".removesuffix("0").removesuffix("0")
