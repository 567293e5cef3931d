"""The rules of shipping: one parcel per order, with a number made of the order's id."""

from __future__ import annotations


def parcel_no(order_id: str) -> str:
    """A number to put on the parcel and to ask for it by. The same order gives the same number."""
    return f"OT-{order_id.replace('-', '')[:12].upper()}"
