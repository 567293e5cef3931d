from __future__ import annotations

from decimal import Decimal

import pytest

from shop.events import InventoryReserved, PaymentAuthorized, PaymentDeclined
from shop.payments import domain, service, tables
from tests.shop.harness import opened, rows


@pytest.mark.parametrize("total", [Decimal("0.001"), domain.LIMIT])
def test_an_order_up_to_the_limit_is_paid_exactly(database_url: str, total: Decimal) -> None:
    with opened(tables.metadata, database_url) as store:
        with store.transaction() as tx:
            assert service.decide(tx, [InventoryReserved("o", "7", [], total)], []) == [
                PaymentAuthorized("o", "7", total)
            ]
        [payment] = rows(store, tables.payments)
    assert (payment["amount"], payment["authorized"], payment["reason"]) == (total, True, None)


def test_an_order_above_the_limit_is_declined_with_a_reason(database_url: str) -> None:
    total = domain.LIMIT + Decimal("0.01")
    with opened(tables.metadata, database_url) as store:
        with store.transaction() as tx:
            [decision] = service.decide(tx, [InventoryReserved("o", "7", [], total)], [])
        [payment] = rows(store, tables.payments)
    assert decision == PaymentDeclined("o", "7", total, "above the limit of 1500.00 for one order")
    assert (payment["amount"], payment["authorized"]) == (total, False)
