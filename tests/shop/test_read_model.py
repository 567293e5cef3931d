from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.events import (
    InventoryReleased,
    InventoryReserved,
    NotificationSent,
    OrderCancelled,
    PaymentAuthorized,
    ShipmentDispatched,
    ShopEvent,
)
from shop.orders import domain, tables, views
from shop.orders.domain import Progress
from shop.store import Store
from tests.shop.harness import context, line, opened, order, rows

CREATED = order("1", line("A", 2, "1.50"))
ID = CREATED.order_id
TOTAL = CREATED.total
HISTORY: list[ShopEvent] = [
    CREATED,
    InventoryReserved(ID, "17850", [], TOTAL),
    PaymentAuthorized(ID, "17850", TOTAL),
    OrderCancelled(ID, "C1", "17850", [], whole=False),
    InventoryReleased(ID, [], "cancelled"),
    ShipmentDispatched(ID, "17850", "P"),
    NotificationSent(ID, "17850", "dispatched", "text"),
    OrderCancelled(ID, "C2", "17850", [], whole=True),
]


def follow(store: Store, place: int) -> None:
    event = HISTORY[place]
    ctx = context(event, f"event-{place}", 1_291_190_400_000 + place)
    store.once([event], [ctx], tables.project)


def seen(store: Store) -> Any:
    with store.reading() as connection:
        return views.details(connection, ID)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with opened(tables.metadata, database_url) as store:
        yield store


@settings(max_examples=40, deadline=None)
@given(st.sets(st.sampled_from(range(len(HISTORY))), min_size=1), st.randoms())
def test_any_sequence_with_any_repetition_gives_the_same_read_model(chosen: set[int], chance: random.Random) -> None:
    shuffled = list(chosen) + [chance.choice(list(chosen)) for _ in range(3)]
    chance.shuffle(shuffled)
    with opened(tables.metadata, "sqlite://") as plain, opened(tables.metadata, "sqlite://") as mixed:
        for place in sorted(chosen):
            follow(plain, place)
        for place in shuffled:
            follow(mixed, place)
        assert rows(mixed, tables.orders) == rows(plain, tables.orders)
        assert seen(mixed) == seen(plain)


def test_an_order_shows_how_it_stands_and_what_happened(store: Store) -> None:
    for place in range(7):
        follow(store, place)
    details = seen(store)
    assert (details.status, details.total, details.invoice_no, details.customer_id) == ("shipped", "3.00", "1", "17850")
    assert [entry.event for entry in details.history] == [type(event).__name__ for event in HISTORY[:7]]
    assert details.history[0].time.isoformat() == "2010-12-01T08:00:00+00:00"


def test_details_that_arrive_after_the_outcome_leave_it_standing(store: Store) -> None:
    for place in (5, 0, 1):
        follow(store, place)
    assert (seen(store).status, seen(store).customer_id) == ("shipped", "17850")


def test_an_unknown_order_is_not_shown(store: Store) -> None:
    assert seen(store) is None


def test_orders_are_listed_a_page_at_a_time(store: Store) -> None:
    ids = sorted(place_many(store, 25))
    listed: list[str] = []
    after: str | None = ""
    pages = 0
    with store.reading() as connection:
        while after is not None:
            page = views.page(connection, None, 10, after)
            listed += [shown.order_id for shown in page.orders]
            after = page.next
            pages += 1
    assert listed == ids
    assert pages == 3


def test_a_last_page_that_is_full_has_no_next(store: Store) -> None:
    place_many(store, 10)
    with store.reading() as connection:
        assert views.page(connection, None, 10, "").next is None


def test_orders_are_listed_by_status(store: Store) -> None:
    ids = place_many(store, 6)
    for order_id in ids[:2]:
        event = PaymentAuthorized(order_id, "17850", Decimal("1"))
        ctx = context(event, f"paid {order_id}")
        store.once([event], [ctx], tables.project)
    with store.reading() as connection:
        paid = views.page(connection, Progress.paid, 10, "")
        accepted = views.page(connection, Progress.accepted, 10, "")
    assert {shown.order_id for shown in paid.orders} == set(ids[:2])
    assert {shown.order_id for shown in accepted.orders} == set(ids[2:])


def place_many(store: Store, count: int) -> list[str]:
    ids = []
    for number in range(count):
        event = order(f"many-{number}")
        ctx = context(event, f"created-{number}")
        store.once([event], [ctx], tables.project)
        ids.append(event.order_id)
    return ids


def test_the_stored_standing_is_the_domains(store: Store) -> None:
    for place in range(len(HISTORY)):
        follow(store, place)
        [row] = rows(store, tables.orders)
        assert row["progress"] == domain.standing(HISTORY[: place + 1])
