"""The shop's services as they run, each alone: what they are told, what they say, what they do when told twice."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from ottla import DatabaseSettings, Settings
from ottla.testing.harness import Namespace
from shop.events import (
    InventoryRejected,
    InventoryReserved,
    PaymentAuthorized,
    PaymentDeclined,
    ShipmentDispatched,
)
from shop.inventory.service import app as inventory
from shop.payments import domain, tables
from shop.payments.service import app as payments
from shop.payments.service import store as payment_store
from shop.shipping.service import app as shipping
from tests.shop.harness import line, order, rows


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(database=DatabaseSettings(url=f"sqlite:///{tmp_path / 'service.db'}"))


def reserved(total: str, order_id: str = "o-1") -> InventoryReserved:
    return InventoryReserved(order_id, "17850", [], Decimal(total))


async def test_payments_decides_on_each_reserved_order(app_under_test: Namespace, settings: Settings) -> None:
    async with app_under_test(payments, settings=settings) as service:
        await service.publish(reserved("9.99"), reserved("9999", "o-2"))
        await service.quiet()
        assert await service.published(PaymentAuthorized) == [PaymentAuthorized("o-1", "17850", Decimal("9.99"))]
        assert [one.order_id for one in await service.published(PaymentDeclined)] == ["o-2"]
        assert await service.dead_letters() == []


async def test_an_event_that_comes_twice_is_booked_once_and_answered_twice(
    app_under_test: Namespace, settings: Settings
) -> None:
    async with app_under_test(payments, settings=settings) as service:
        for _ in range(2):
            await service.publish(reserved(str(domain.LIMIT)), event_id="the-same")
        await service.quiet()
        assert len(await service.published(PaymentAuthorized)) == 2
        assert len(rows(payment_store, tables.payments)) == 1


def test_inventory_and_shipping_take_an_order_to_its_parcel(
    app_under_test: Namespace, settings: Settings, tmp_path: Path
) -> None:
    others = Settings(database=DatabaseSettings(url=f"sqlite:///{tmp_path / 'shipping.db'}"))
    with (
        app_under_test(inventory, settings=settings) as stock,
        app_under_test(shipping, settings=others) as parcels,
    ):
        ordered = order("1000", line("A", 2))
        stock.publish(ordered, order("1001", line("A", 1_000_000)))
        stock.quiet()
        (kept,) = stock.published(InventoryReserved)
        assert kept.order_id == ordered.order_id
        assert len(stock.published(InventoryRejected)) == 1
        parcels.publish(PaymentAuthorized(kept.order_id, kept.customer_id, kept.total))
        parcels.quiet()
        assert [one.order_id for one in parcels.published(ShipmentDispatched)] == [ordered.order_id]
