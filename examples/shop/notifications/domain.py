"""What customers are told, and when: at the end of an order, and when something of it was cancelled."""

from __future__ import annotations

from shop.events import InventoryRejected, NotificationSent, OrderCancelled, PaymentDeclined, ShipmentDispatched
from shop.money import amount

Occasion = ShipmentDispatched | PaymentDeclined | InventoryRejected | OrderCancelled


def notification(event: Occasion) -> NotificationSent:
    """The message to a customer."""
    match event:
        case ShipmentDispatched():
            kind, text = "dispatched", f"Your order is on its way: parcel {event.parcel_no}."
        case PaymentDeclined():
            kind, text = "declined", f"Your payment of {amount(event.amount)} was declined: {event.reason}."
        case InventoryRejected():
            kind, text = "out_of_stock", f"Your order cannot be filled: {event.reason}."
        case OrderCancelled(whole=True):
            kind, text = "cancelled", "Your order was cancelled."
        case OrderCancelled():
            pieces = sum(line.quantity for line in event.lines)
            kind, text = "cancelled", f"{pieces} pieces of your order were cancelled."
    return NotificationSent(event.order_id, event.customer_id, kind, text)
