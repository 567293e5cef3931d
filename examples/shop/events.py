"""Everything the shop's services say to each other.

Each event is keyed by its order, so that an order's events on one topic stay in sequence.

order-events         OrderCreated, OrderCancelled
inventory-events     InventoryReserved, InventoryRejected, InventoryReleased
payment-events       PaymentAuthorized, PaymentDeclined
shipment-events      ShipmentDispatched
notification-events  NotificationSent
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from ottla import event


class OrderLine(msgspec.Struct, frozen=True):
    """One line of an invoice: what is bought, how many, at which price each."""

    stock_code: str
    description: str
    quantity: int
    unit_price: Decimal


class StockLine(msgspec.Struct, frozen=True):
    """A number of pieces of one article."""

    stock_code: str
    quantity: int


@event("order-events", key="order_id", namespace="shop")
class OrderCreated(msgspec.Struct, frozen=True):
    """A valid order was placed. `total` is the sum of quantity times price over all lines, exactly."""

    order_id: str
    invoice_no: str
    customer_id: str
    country: str
    invoice_date: datetime
    lines: list[OrderLine]
    total: Decimal


@event("order-events", key="order_id", namespace="shop")
class OrderCancelled(msgspec.Struct, frozen=True):
    """Lines of an order were cancelled; `whole` says that after this nothing of the order remains.

    `invoice_no` is the cancelling invoice, or None when the order was cancelled over HTTP.
    """

    order_id: str
    invoice_no: str | None
    customer_id: str
    lines: list[StockLine]
    whole: bool


@event("inventory-events", key="order_id", namespace="shop")
class InventoryReserved(msgspec.Struct, frozen=True):
    """Every article of the order is set aside; `total` is what is to be paid for it."""

    order_id: str
    customer_id: str
    lines: list[StockLine]
    total: Decimal


@event("inventory-events", key="order_id", namespace="shop")
class InventoryRejected(msgspec.Struct, frozen=True):
    """At least one article is short, so nothing was set aside."""

    order_id: str
    customer_id: str
    reason: str


@event("inventory-events", key="order_id", namespace="shop")
class InventoryReleased(msgspec.Struct, frozen=True):
    """Articles that had been set aside went back on the shelf."""

    order_id: str
    lines: list[StockLine]
    reason: str


@event("payment-events", key="order_id", namespace="shop")
class PaymentAuthorized(msgspec.Struct, frozen=True):
    """The customer's payment of `amount` is secured."""

    order_id: str
    customer_id: str
    amount: Decimal


@event("payment-events", key="order_id", namespace="shop")
class PaymentDeclined(msgspec.Struct, frozen=True):
    """The customer's payment of `amount` was refused."""

    order_id: str
    customer_id: str
    amount: Decimal
    reason: str


@event("shipment-events", key="order_id", namespace="shop")
class ShipmentDispatched(msgspec.Struct, frozen=True):
    """The parcel left the warehouse."""

    order_id: str
    customer_id: str
    parcel_no: str


@event("notification-events", key="order_id", namespace="shop")
class NotificationSent(msgspec.Struct, frozen=True):
    """The customer was told how the order ended. `kind`: dispatched, declined, out_of_stock or cancelled."""

    order_id: str
    customer_id: str
    kind: str
    text: str


ShopEvent = (
    OrderCreated
    | OrderCancelled
    | InventoryReserved
    | InventoryRejected
    | InventoryReleased
    | PaymentAuthorized
    | PaymentDeclined
    | ShipmentDispatched
    | NotificationSent
)

ALL: tuple[type[ShopEvent], ...] = (
    OrderCreated,
    OrderCancelled,
    InventoryReserved,
    InventoryRejected,
    InventoryReleased,
    PaymentAuthorized,
    PaymentDeclined,
    ShipmentDispatched,
    NotificationSent,
)

_BY_NAME = {cls.__name__: cls for cls in ALL}


def type_name(event: ShopEvent) -> str:
    """The name under which an event travels and is booked: `shop.OrderCreated`."""
    return f"shop.{type(event).__name__}"


def named(name: str) -> type[ShopEvent]:
    """The class of an event by the name of `type_name`. Raises KeyError for a name the shop does not know."""
    return _BY_NAME[name.removeprefix("shop.")]
