from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from shop.events import OrderCancelled, PaymentAuthorized, ShipmentDispatched
from shop.shipping import service, tables
from shop.store import Store
from tests.shop.harness import opened, rows

ORDER = "6f1c0a3e-6f0e-5d0b-9a43-0d2f3f1c7a52"
PAID = PaymentAuthorized(ORDER, "7", Decimal("10"))


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with opened(tables.metadata, database_url) as store:
        yield store


def send(store: Store) -> ShipmentDispatched | None:
    with store.transaction() as tx:
        return service.send(tx, [PAID], [])[0]


def hold(store: Store, *, whole: bool) -> None:
    with store.transaction() as tx:
        service.hold(tx, [OrderCancelled(ORDER, "C1", "7", [], whole)], [])


def test_a_paid_order_is_sent(store: Store) -> None:
    assert send(store) == ShipmentDispatched(ORDER, "7", "OT-6F1C0A3E6F0E")
    assert [row["parcel_no"] for row in rows(store, tables.shipments)] == ["OT-6F1C0A3E6F0E"]


def test_an_order_cancelled_before_it_was_paid_is_not_sent(store: Store) -> None:
    hold(store, whole=True)
    assert send(store) is None
    assert [row["parcel_no"] for row in rows(store, tables.shipments)] == [None]


def test_an_order_of_which_a_part_was_cancelled_is_sent(store: Store) -> None:
    hold(store, whole=False)
    assert send(store) is not None


def test_a_parcel_that_has_left_stays_sent(store: Store) -> None:
    send(store)
    hold(store, whole=True)
    assert [row["parcel_no"] for row in rows(store, tables.shipments)] == ["OT-6F1C0A3E6F0E"]
