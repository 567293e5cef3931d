"""Commands to orders, made of what the services say.

A command keeps the headers of the event it is made of, and so the event's id: an event that was published twice is one
command, which has its effect once.
"""

from __future__ import annotations

from ottla.streams import KStream, StreamsBuilder
from shop.events import (
    InventoryRejected,
    InventoryReserved,
    OrderCancelled,
    OrderCreated,
    PaymentAuthorized,
    PaymentDeclined,
    ShipmentDispatched,
    ShopEvent,
)
from shop.lifecycle.events import AdvanceOrder, PlaceOrder, TakeBack
from shop.orders import domain

Taken = OrderCreated | OrderCancelled


def commands_from_events(builder: StreamsBuilder) -> None:
    """Adds the way from the services' topics to the commands."""
    taken: KStream[str, Taken] = builder.stream(OrderCreated, OrderCancelled, name="order-events")
    taken.flat_map_values(placing, name="placing").to(PlaceOrder, name="place-orders")
    taken.flat_map_values(taking_back, name="taking-back").to(TakeBack, name="take-backs")
    stock: KStream[str, ShopEvent] = builder.stream(InventoryReserved, InventoryRejected, name="inventory-events")
    payments: KStream[str, ShopEvent] = builder.stream(PaymentAuthorized, PaymentDeclined, name="payment-events")
    parcels: KStream[str, ShopEvent] = builder.stream(ShipmentDispatched, name="shipment-events")
    for name, events in {"stock": stock, "payment": payments, "parcel": parcels}.items():
        events.map_values(advance, name=f"advance-by-{name}").to(AdvanceOrder, name=f"advances-by-{name}")


def placing(event: Taken) -> list[PlaceOrder]:
    if not isinstance(event, OrderCreated):
        return []
    pieces = sum(line.quantity for line in event.lines)
    return [PlaceOrder(event.order_id, event.invoice_no, event.customer_id, event.country, event.total, pieces)]


def taking_back(event: Taken) -> list[TakeBack]:
    if not isinstance(event, OrderCancelled):
        return []
    return [TakeBack(event.order_id, sum(line.quantity for line in event.lines), event.whole)]


def advance(event: ShopEvent) -> AdvanceOrder:
    return AdvanceOrder(event.order_id, domain.progress_of(event).name, domain.detail_of(event))
