"""What events do to the stock: the rules of `domain.py` applied to the tables, for many orders in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy.engine import Connection

from ottla import Context
from shop.events import (
    InventoryRejected,
    InventoryReleased,
    InventoryReserved,
    OrderCancelled,
    OrderCreated,
    PaymentDeclined,
)
from shop.inventory import domain, tables
from shop.inventory.domain import Kind, Movement, Reservation, Shortage


def reserve(
    tx: Connection, orders: Sequence[OrderCreated], _ctxs: Sequence[Context]
) -> list[InventoryReserved | InventoryRejected | None]:
    """Set aside all articles of each order, or none of it. An order that was wholly cancelled before gets no answer."""
    wanted = [domain.goods(order.lines) for order in orders]
    work = Work(tx, (order.order_id for order in orders), (code for goods in wanted for code in goods))
    answers = [work.reserve(order, goods) for order, goods in zip(orders, wanted, strict=True)]
    work.write()
    return answers


def cancel(
    tx: Connection, cancelled: Sequence[OrderCancelled], _ctxs: Sequence[Context]
) -> list[InventoryReleased | None]:
    """Put back what was cancelled and is still set aside."""
    work = Work(tx, (order.order_id for order in cancelled))
    answers = [work.cancel(order) for order in cancelled]
    work.write()
    return answers


def release(
    tx: Connection, declined: Sequence[PaymentDeclined], _ctxs: Sequence[Context]
) -> list[InventoryReleased | None]:
    """Put back what will not be paid."""
    work = Work(tx, (order.order_id for order in declined))
    answers = [work.put_back(order.order_id, None, "payment declined") for order in declined]
    work.write()
    return answers


class Work:
    """Reads at once what a transaction needs, applies events to it one after the other, writes the result at once."""

    def __init__(self, tx: Connection, order_ids: Iterable[str], stock_codes: Iterable[str] = ()) -> None:
        """`stock_codes` adds to the articles that the orders hold already."""
        self._tx = tx
        self._reservations = tables.reservations_of(tx, order_ids)
        held = (code for reservation in self._reservations.values() for code in reservation.pieces)
        self._on_hand = tables.on_hand(tx, {*held, *stock_codes})
        self._changed: dict[str, Reservation] = {}
        self._movements: list[tuple[str, Movement]] = []

    def write(self) -> None:
        tables.write_movements(self._tx, self._movements, self._on_hand)
        tables.write_reservations(self._tx, self._changed)

    def reserve(self, order: OrderCreated, wanted: Mapping[str, int]) -> InventoryReserved | InventoryRejected | None:
        earlier = self._reservations.get(order.order_id)
        if earlier is not None:
            wanted = domain.less(wanted, earlier.pieces) if earlier.state == "cancelled" else {}
            if not wanted:
                return None
        outcome = domain.reserve(wanted, self._on_hand)
        short = [x for x in outcome if isinstance(x, Shortage)]
        if short:
            self._note(order.order_id, Reservation("rejected", {}))
            return InventoryRejected(order.order_id, order.customer_id, domain.out_of_stock(short))
        self._note(order.order_id, Reservation("reserved", wanted), *(x for x in outcome if isinstance(x, Movement)))
        return InventoryReserved(order.order_id, order.customer_id, domain.stock_lines(wanted), order.total)

    def cancel(self, cancelled: OrderCancelled) -> InventoryReleased | None:
        taken_back = {line.stock_code: line.quantity for line in cancelled.lines}
        booked = self._reservations.get(cancelled.order_id)
        if booked is None or booked.state == "cancelled":
            # Its order is yet to come (it was published again after a crash, say). It will be asked for so much less.
            together = domain.plus(booked.pieces if booked else {}, taken_back)
            self._note(cancelled.order_id, Reservation("cancelled", together))
            return None
        return self.put_back(cancelled.order_id, None if cancelled.whole else taken_back, "cancelled")

    def put_back(self, order_id: str, taken_back: Mapping[str, int] | None, reason: str) -> InventoryReleased | None:
        """Put back what is set aside for an order: of `taken_back`, or all. What is back cannot go back again."""
        booked = self._reservations.get(order_id)
        if booked is None or booked.state != "reserved":
            return None
        back = domain.release(booked.pieces, taken_back)
        if not back:
            return None
        movements = (Movement(stock_code, Kind.released, quantity) for stock_code, quantity in back.items())
        self._note(order_id, Reservation("reserved", domain.less(booked.pieces, back)), *movements)
        return InventoryReleased(order_id, domain.stock_lines(back), reason)

    def _note(self, order_id: str, reservation: Reservation, *movements: Movement) -> None:
        self._reservations[order_id] = self._changed[order_id] = reservation
        for movement in movements:
            self._movements.append((order_id, movement))
            there = self._on_hand.get(movement.stock_code, 0)
            self._on_hand[movement.stock_code] = there + movement.quantity
