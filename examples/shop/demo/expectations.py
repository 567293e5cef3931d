"""Which events each service handles, and with which it answers."""

from __future__ import annotations

from collections.abc import Mapping

from ottla import event_type
from shop import events
from shop.events import ShopEvent

# Written down once more on purpose: a handler that goes missing must be noticed.
HANDLES: Mapping[str, tuple[type[ShopEvent], ...]] = {
    "orders": events.ALL,
    "inventory": (events.OrderCreated, events.OrderCancelled, events.PaymentDeclined),
    "payments": (events.InventoryReserved,),
    "shipping": (events.PaymentAuthorized, events.OrderCancelled),
    "notifications": (
        events.ShipmentDispatched,
        events.PaymentDeclined,
        events.InventoryRejected,
        events.OrderCancelled,
    ),
}
ANSWERS: Mapping[str, tuple[type[ShopEvent], ...]] = {
    "inventory": (events.InventoryReserved, events.InventoryRejected, events.InventoryReleased),
    "payments": (events.PaymentAuthorized, events.PaymentDeclined),
    "shipping": (events.ShipmentDispatched,),
    "notifications": (events.NotificationSent,),
}
LISTENS: Mapping[str, frozenset[str]] = {
    service: frozenset(event_type(cls).topic for cls in classes) for service, classes in HANDLES.items()
}
# Of the streams, what they read; what becomes of it is for the books to compare.
STREAMED: Mapping[str, frozenset[str]] = {
    "streams": frozenset(event_type(cls).topic for cls in (events.OrderCreated, events.PaymentAuthorized))
}
