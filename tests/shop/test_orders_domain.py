from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.events import (
    InventoryRejected,
    InventoryReleased,
    InventoryReserved,
    NotificationSent,
    OrderCancelled,
    OrderLine,
    PaymentAuthorized,
    PaymentDeclined,
    ShipmentDispatched,
    ShopEvent,
)
from shop.orders import domain
from shop.orders.domain import Progress
from tests.shop.harness import invoice, line, order

MONEY = Decimal("1.00")
HISTORY: list[ShopEvent] = [
    order(),
    OrderCancelled("o", "C1", "7", [], whole=False),
    OrderCancelled("o", "C2", "7", [], whole=True),
    InventoryReserved("o", "7", [], MONEY),
    InventoryRejected("o", "7", "short"),
    InventoryReleased("o", [], "cancelled"),
    PaymentAuthorized("o", "7", MONEY),
    PaymentDeclined("o", "7", MONEY, "above"),
    ShipmentDispatched("o", "7", "P"),
    NotificationSent("o", "7", "dispatched", "text"),
]


@given(st.lists(st.sampled_from(HISTORY)), st.randoms())
def test_how_an_order_stands_depends_neither_on_sequence_nor_on_repetition(
    seen: list[ShopEvent], chance: random.Random
) -> None:
    again = seen + [chance.choice(seen) for _ in range(len(seen) * 2)]
    chance.shuffle(again)
    assert domain.standing(again) is domain.standing(seen)


@given(st.sets(st.sampled_from(range(len(HISTORY)))))
def test_how_an_order_stands_follows_the_shops_order_of_precedence(chosen: set[int]) -> None:
    seen = [HISTORY[i] for i in chosen]
    kinds = {type(event) for event in seen}
    if any(isinstance(event, OrderCancelled) and event.whole for event in seen):
        expected = "cancelled"
    elif ShipmentDispatched in kinds:
        expected = "shipped"
    elif PaymentDeclined in kinds:
        expected = "declined"
    elif InventoryRejected in kinds:
        expected = "out_of_stock"
    elif PaymentAuthorized in kinds:
        expected = "paid"
    elif InventoryReserved in kinds:
        expected = "reserved"
    else:
        expected = "accepted"
    assert domain.standing(seen).name == expected


def test_exactly_the_four_outcomes_are_final() -> None:
    assert [p.name for p in Progress if p.final] == ["out_of_stock", "declined", "shipped", "cancelled"]


def test_every_kind_of_event_has_something_to_tell() -> None:
    for event in HISTORY:
        assert domain.detail_of(event)


def test_a_valid_order_has_no_faults() -> None:
    assert domain.faults(invoice("1", line("A", 6, "2.55"), line("POST", 1, "18.00"))) == []


def test_a_valid_cancellation_has_no_faults() -> None:
    assert domain.faults(invoice("C1", line("A", -6, "2.55"))) == []


@pytest.mark.parametrize(
    ("bad", "kind", "where"),
    [
        (line(quantity=-1), "negative_quantity", "quantity"),
        (line(quantity=0), "zero_quantity", "quantity"),
        (line(quantity=domain.QUANTITY_MAX + 1), "quantity_out_of_range", "quantity"),
        (line(price="0.0"), "price_not_positive", "unit_price"),
        (line(price="-1"), "price_not_positive", "unit_price"),
        (line(price="1000000.01"), "price_out_of_range", "unit_price"),
        (line(price="0.00001"), "price_too_fine", "unit_price"),
        (line(description=""), "empty_description", "description"),
        (line(stock_code=""), "missing_stock_code", "stock_code"),
    ],
)
def test_a_faulty_line_is_refused_at_its_field(bad: OrderLine, kind: str, where: str) -> None:
    assert [(f.type, f.where) for f in domain.faults(invoice("1", line(), bad))] == [(kind, ("lines", 1, where))]


def test_a_cancellation_that_adds_is_refused() -> None:
    assert [f.type for f in domain.faults(invoice("C1", line(quantity=1)))] == ["positive_quantity"]


def test_an_order_without_a_customer_or_without_lines_is_refused() -> None:
    empty = replace(invoice("1", customer=""), lines=[])
    assert [(f.type, f.where) for f in domain.faults(empty)] == [
        ("missing_customer", ("customer_id",)),
        ("no_lines", ("lines",)),
    ]


def test_all_faults_are_reported_at_once() -> None:
    bad = invoice("1", line(quantity=-10, price="0.0", description=""), line(), line(quantity=-1), customer="")
    assert [(f.type, f.where[:2]) for f in domain.faults(bad)] == [
        ("missing_customer", ("customer_id",)),
        ("empty_description", ("lines", 0)),
        ("negative_quantity", ("lines", 0)),
        ("price_not_positive", ("lines", 0)),
        ("negative_quantity", ("lines", 2)),
    ]


def test_a_total_is_exact() -> None:
    assert order("1", line("A", 3, "0.10"), line("B", 7, "0.001")).total == Decimal("0.307")


def test_the_same_invoice_number_is_the_same_order() -> None:
    assert domain.order_id_of("536365") == domain.order_id_of("536365") != domain.order_id_of("536366")


quantities = st.dictionaries(st.sampled_from("ABCD"), st.integers(1, 9))


@given(quantities, quantities)
def test_what_a_cancellation_leaves_and_what_it_takes_make_the_order(
    remaining: dict[str, int], wanted: dict[str, int]
) -> None:
    if domain.covers(remaining, wanted):
        left = domain.without(remaining, wanted)
        assert {code: left.get(code, 0) + wanted.get(code, 0) for code in remaining} == remaining
        assert (left == {}) == (wanted == remaining)
    else:
        assert any(wanted[code] > remaining.get(code, 0) for code in wanted)
