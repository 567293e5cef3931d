from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.events import (
    InventoryRejected,
    InventoryReleased,
    InventoryReserved,
    OrderCancelled,
    OrderCreated,
    PaymentDeclined,
    StockLine,
)
from shop.inventory import domain, stock, tables
from shop.inventory.domain import SHELF
from shop.store import Store
from tests.shop.harness import line, opened, order, rows


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with opened(tables.metadata, database_url) as store:
        yield store


def reserve(store: Store, ordered: OrderCreated) -> InventoryReserved | InventoryRejected | None:
    with store.transaction() as tx:
        return stock.reserve(tx, [ordered], [])[0]


def cancel(store: Store, ordered: OrderCreated, *lines: StockLine, whole: bool = False) -> InventoryReleased | None:
    with store.transaction() as tx:
        return stock.cancel(tx, [OrderCancelled(ordered.order_id, "C1", "17850", list(lines), whole)], [])[0]


def decline(store: Store, ordered: OrderCreated) -> InventoryReleased | None:
    with store.transaction() as tx:
        declined = PaymentDeclined(ordered.order_id, "17850", ordered.total, "above")
        return stock.release(tx, [declined], [])[0]


def on_hand(store: Store) -> dict[str, int]:
    """What the stock says, which must be what the ledger says."""
    booked = {row["stock_code"]: row["on_hand"] for row in rows(store, tables.stock)}
    summed: Counter[str] = Counter()
    for row in rows(store, tables.ledger):
        summed[row["stock_code"]] += row["quantity"]
    assert summed == booked
    return booked


def kinds(store: Store) -> list[tuple[str, int]]:
    return [(row["kind"], row["quantity"]) for row in rows(store, tables.ledger)]


def test_an_article_seen_first_is_on_the_shelf_and_then_reserved(store: Store) -> None:
    ordered = order("1", line("A", 6), line("Z", 2))
    assert reserve(store, ordered) == InventoryReserved(
        ordered.order_id, "17850", [StockLine("A", 6), StockLine("Z", 2)], ordered.total
    )
    assert on_hand(store) == {"A": SHELF - 6, "Z": SHELF - 2}


def test_lines_of_one_article_are_reserved_together(store: Store) -> None:
    reserved = reserve(store, order("1", line("A", 6), line("A", 2)))
    assert isinstance(reserved, InventoryReserved)
    assert reserved.lines == [StockLine("A", 8)]


def test_postage_and_the_like_are_not_stocked(store: Store) -> None:
    reserved = reserve(store, order("1", line("POST", 3), line("A", 1), line("M", 1)))
    assert isinstance(reserved, InventoryReserved)
    assert reserved.lines == [StockLine("A", 1)]


def test_an_order_of_postage_alone_needs_no_stock(store: Store) -> None:
    assert isinstance(reserve(store, order("1", line("POST", 3))), InventoryReserved)
    assert on_hand(store) == {}


def test_an_article_that_runs_short_is_delivered(store: Store) -> None:
    reserve(store, order("1", line("A", 300)))
    assert isinstance(reserve(store, order("2", line("A", 300))), InventoryReserved)
    assert kinds(store) == [("opening", SHELF), ("reserved", -300), ("delivery", 300), ("reserved", -300)]
    assert on_hand(store) == {"A": SHELF - 300}


def test_all_articles_of_an_order_are_reserved_or_none(store: Store) -> None:
    ordered = order("1", line("A", 1), line("Z", SHELF + 1))
    assert reserve(store, ordered) == InventoryRejected(
        ordered.order_id, "17850", f"{SHELF + 1} of article Z wanted, {SHELF} available"
    )
    assert on_hand(store) == {}


def test_returned_goods_make_a_larger_order_possible(store: Store) -> None:
    first = order("1", line("A", 100))
    reserve(store, first)
    reserve(store, order("2", line("A", 300)))
    reserve(store, order("3", line("A", 1)))
    cancel(store, first, whole=True)
    assert on_hand(store) == {"A": SHELF + 99}
    assert isinstance(reserve(store, order("4", line("A", SHELF + 99))), InventoryReserved)
    assert on_hand(store) == {"A": 0}


def test_a_cancelled_order_goes_back_whole(store: Store) -> None:
    ordered = order("1", line("A", 6), line("Z", 2))
    reserve(store, ordered)
    assert cancel(store, ordered, StockLine("A", 6), StockLine("Z", 2), whole=True) == InventoryReleased(
        ordered.order_id, [StockLine("A", 6), StockLine("Z", 2)], "cancelled"
    )
    assert on_hand(store) == {"A": SHELF, "Z": SHELF}


def test_what_was_cancelled_of_an_order_goes_back(store: Store) -> None:
    ordered = order("1", line("A", 6), line("POST", 1))
    reserve(store, ordered)
    released = cancel(store, ordered, StockLine("A", 2), StockLine("POST", 1))
    assert released == InventoryReleased(ordered.order_id, [StockLine("A", 2)], "cancelled")
    assert on_hand(store) == {"A": SHELF - 4}


def test_a_declined_payment_puts_everything_back(store: Store) -> None:
    ordered = order("1", line("A", 6))
    reserve(store, ordered)
    assert decline(store, ordered) == InventoryReleased(ordered.order_id, [StockLine("A", 6)], "payment declined")


def test_a_declined_payment_after_a_part_was_cancelled_puts_back_the_rest(store: Store) -> None:
    ordered = order("1", line("A", 6))
    reserve(store, ordered)
    cancel(store, ordered, StockLine("A", 2))
    released = decline(store, ordered)
    assert released is not None
    assert released.lines == [StockLine("A", 4)]
    assert on_hand(store) == {"A": SHELF}


def test_a_cancellation_after_a_declined_payment_puts_nothing_back_again(store: Store) -> None:
    ordered = order("1", line("A", 6))
    reserve(store, ordered)
    decline(store, ordered)
    assert cancel(store, ordered, StockLine("A", 6), whole=True) is None
    assert decline(store, ordered) is None
    assert on_hand(store) == {"A": SHELF}


def test_a_rejected_order_has_nothing_to_put_back(store: Store) -> None:
    ordered = order("1", line("A", SHELF + 1))
    reserve(store, ordered)
    assert cancel(store, ordered, StockLine("A", SHELF + 1), whole=True) is None


def test_an_order_cancelled_before_it_was_seen_is_not_reserved(store: Store) -> None:
    ordered = order("1", line("A", 6))
    assert cancel(store, ordered, StockLine("A", 6), whole=True) is None
    assert reserve(store, ordered) is None
    assert on_hand(store) == {}


def test_an_order_cancelled_in_part_before_it_was_seen_is_reserved_for_the_rest(store: Store) -> None:
    ordered = order("1", line("A", 6), line("Z", 1))
    cancel(store, ordered, StockLine("A", 1))
    cancel(store, ordered, StockLine("A", 1), StockLine("Z", 1))
    reserved = reserve(store, ordered)
    assert isinstance(reserved, InventoryReserved)
    assert reserved.lines == [StockLine("A", 4)]


def test_orders_in_one_transaction_see_each_other(store: Store) -> None:
    first, second, third = (order(number, line("A", 300)) for number in "123")
    with store.transaction() as tx:
        answers = stock.reserve(tx, [first, second, first, third], [])
    assert [type(answer) for answer in answers] == [InventoryReserved, InventoryReserved, type(None), InventoryReserved]
    assert on_hand(store) == {"A": SHELF - 300}
    with store.transaction() as tx:
        lines = [StockLine("A", 200)]
        parts = [OrderCancelled(first.order_id, number, "17850", lines, False) for number in ("C1", "C2")]
        released = stock.cancel(tx, parts, [])
    assert [answer and answer.lines for answer in released] == [[StockLine("A", 200)], [StockLine("A", 100)]]
    assert on_hand(store) == {"A": SHELF}


quantities = st.integers(1, SHELF + 50)
orders = st.lists(st.tuples(st.sampled_from("AZ"), quantities), min_size=1, max_size=3)
steps = st.lists(st.tuples(st.sampled_from(["reserve", "cancel", "decline"]), st.integers(0, 5)), max_size=30)


@settings(max_examples=60, deadline=None)
@given(st.lists(orders, min_size=6, max_size=6), steps)
def test_the_ledger_balances_whatever_happens(
    wanted: list[list[tuple[str, int]]], happened: list[tuple[str, int]]
) -> None:
    placed = [order(str(n), *(line(code, count) for code, count in wanted[n])) for n in range(6)]
    with opened(tables.metadata, "sqlite://") as store:
        for what, number in happened:
            if what == "reserve":
                reserve(store, placed[number])
            elif what == "cancel":
                cancel(store, placed[number], *domain.stock_lines(domain.goods(placed[number].lines)), whole=True)
            else:
                decline(store, placed[number])
            assert all(quantity >= 0 for quantity in on_hand(store).values())
        held = sum(sum(pieces(row["pieces"])) for row in rows(store, tables.reservations) if row["state"] == "reserved")
        moved = Counter[str]()
        for row in rows(store, tables.ledger):
            moved[row["kind"]] += row["quantity"]
        assert held == -moved["reserved"] - moved["released"]


def pieces(text: str) -> list[int]:
    import json

    return list(json.loads(text).values())
