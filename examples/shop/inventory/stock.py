"""What events do to the stock: the rules of `domain.py` applied to the tables."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.engine import Connection

from shop.events import InventoryRejected, InventoryReleased, InventoryReserved, OrderCancelled, OrderCreated
from shop.inventory import domain, tables
from shop.inventory.domain import Kind, Movement, Shortage


def reserve(tx: Connection, order: OrderCreated) -> InventoryReserved | InventoryRejected | None:
    """Set aside all articles of an order, or none. An order that was wholly cancelled before gets no answer."""
    wanted = domain.goods(order.lines)
    if not tables.new_reservation(tx, order.order_id, "reserved", wanted):
        wanted = _not_cancelled(tx, order, wanted)
        if not wanted:
            return None
        tables.set_reservation(tx, order.order_id, "reserved", wanted)
    before = tables.on_hand(tx, wanted)
    outcome = domain.reserve(wanted, before)
    short = [x for x in outcome if isinstance(x, Shortage)]
    if short:
        tables.set_reservation(tx, order.order_id, "rejected", {})
        return InventoryRejected(order.order_id, order.customer_id, domain.out_of_stock(short))
    tables.move(tx, order.order_id, [x for x in outcome if isinstance(x, Movement)], before)
    return InventoryReserved(order.order_id, order.customer_id, domain.stock_lines(wanted), order.total)


def _not_cancelled(tx: Connection, order: OrderCreated, wanted: Mapping[str, int]) -> dict[str, int]:
    """What is still wanted of an order that the tables know already: nothing, unless it was cancelled in part."""
    booked = tables.reservation(tx, order.order_id)
    assert booked is not None, "read in the same transaction"
    state, pieces = booked
    return domain.less(wanted, pieces) if state == "cancelled" else {}


def cancel(tx: Connection, cancelled: OrderCancelled) -> InventoryReleased | None:
    """Put back what was cancelled and is still set aside."""
    taken_back = {line.stock_code: line.quantity for line in cancelled.lines}
    booked = tables.reservation(tx, cancelled.order_id)
    if booked is None or booked[0] == "cancelled":
        # Its order is yet to come (it was published again after a crash, say). It will be asked for so much less.
        together = domain.plus(booked[1] if booked else {}, taken_back)
        tables.set_reservation(tx, cancelled.order_id, "cancelled", together)
        return None
    return put_back(tx, cancelled.order_id, None if cancelled.whole else taken_back, "cancelled")


def put_back(
    tx: Connection, order_id: str, taken_back: Mapping[str, int] | None, reason: str
) -> InventoryReleased | None:
    """Put back what is still set aside for an order: of `taken_back`, or all of it. What is back cannot go back
    again."""
    booked = tables.reservation(tx, order_id)
    if booked is None or booked[0] != "reserved":
        return None
    held = booked[1]
    back = domain.release(held, taken_back)
    if not back:
        return None
    movements = [Movement(stock_code, Kind.released, quantity) for stock_code, quantity in back.items()]
    tables.move(tx, order_id, movements, tables.on_hand(tx, back))
    tables.set_reservation(tx, order_id, "reserved", domain.less(held, back))
    return InventoryReleased(order_id, domain.stock_lines(back), reason)
