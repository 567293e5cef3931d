"""The rules of the shelf.

An article is on the shelf from the first time anybody orders it, with `SHELF` pieces. When an order wants more than
is there, the supplier delivers at once, up to `SHELF` again; he does not deliver more than the shelf holds. So an
order is out of stock only when it wants more of one article than the shelf has room for (unless returned goods make
up for it), and which of two orders comes first matters to nobody.

Postage, carriage, discounts and the like stand on invoices as lines with a code of their own. They are paid, not
stocked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from shop.events import OrderLine, StockLine

SHELF = 400

# Lines that are no goods: postage, dotcom postage, carriage, manual entries, discounts, samples, bad debt
# adjustments, bank charges, fees of a market place, commission.
NOT_STOCKED = frozenset({"POST", "DOT", "C2", "M", "D", "S", "B", "BANK CHARGES", "AMAZONFEE", "CRUK"})


class Kind(Enum):
    """Why a number of pieces came to the shelf or left it."""

    opening = "opening"
    delivery = "delivery"
    reserved = "reserved"
    released = "released"


@dataclass(frozen=True, slots=True)
class Movement:
    """A line of the stock ledger: `quantity` is above zero for pieces that came. The ledger's sum is what is on
    hand."""

    stock_code: str
    kind: Kind
    quantity: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """What the inventory holds for an order.

    `state` is reserved, and `pieces` is what is still set aside; or rejected, and there are none; or, when a
    cancellation was seen before its order, cancelled, and `pieces` is what was taken back.
    """

    state: str
    pieces: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Shortage:
    """An article of which an order wants more than there is to be had."""

    stock_code: str
    wanted: int
    available: int


def goods(lines: Iterable[OrderLine]) -> dict[str, int]:
    """What an order takes from the shelf: pieces by article, several lines of one article together."""
    wanted: dict[str, int] = {}
    for line in lines:
        if line.stock_code not in NOT_STOCKED:
            wanted[line.stock_code] = wanted.get(line.stock_code, 0) + line.quantity
    return wanted


def reserve(wanted: Mapping[str, int], on_hand: Mapping[str, int]) -> list[Movement] | list[Shortage]:
    """Set aside all of it, or nothing.

    Args:
        wanted: Pieces by article.
        on_hand: What the shelf holds; an article it has never held is missing.

    Returns:
        The ledger's new lines, or what is short.
    """
    short = [
        Shortage(stock_code, quantity, available)
        for stock_code, quantity in wanted.items()
        if quantity > (available := max(SHELF, on_hand.get(stock_code, 0)))
    ]
    if short:
        return short
    movements = []
    for stock_code, quantity in wanted.items():
        there = on_hand.get(stock_code)
        if there is None:
            there = SHELF
            movements.append(Movement(stock_code, Kind.opening, SHELF))
        if there < quantity:
            movements.append(Movement(stock_code, Kind.delivery, SHELF - there))
        movements.append(Movement(stock_code, Kind.reserved, -quantity))
    return movements


def release(held: Mapping[str, int], taken_back: Mapping[str, int] | None) -> dict[str, int]:
    """What goes back on the shelf.

    Args:
        held: What is still set aside for the order.
        taken_back: What was cancelled; None for all of it.
    """
    if taken_back is None:
        return dict(held)
    back = {stock_code: min(quantity, held.get(stock_code, 0)) for stock_code, quantity in taken_back.items()}
    return {stock_code: quantity for stock_code, quantity in back.items() if quantity > 0}


def less(quantities: Mapping[str, int], taken: Mapping[str, int]) -> dict[str, int]:
    """What is left of `quantities`; articles of which nothing is left are gone."""
    left = {stock_code: quantity - taken.get(stock_code, 0) for stock_code, quantity in quantities.items()}
    return {stock_code: quantity for stock_code, quantity in left.items() if quantity > 0}


def plus(quantities: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Both together."""
    return {code: quantities.get(code, 0) + more.get(code, 0) for code in {**quantities, **more}}


def stock_lines(quantities: Mapping[str, int]) -> list[StockLine]:
    """Pieces by article, as events carry them."""
    return [StockLine(stock_code, quantity) for stock_code, quantity in quantities.items()]


def out_of_stock(short: Iterable[Shortage]) -> str:
    """The reason for a customer."""
    return "; ".join(f"{x.wanted} of article {x.stock_code} wanted, {x.available} available" for x in short)
