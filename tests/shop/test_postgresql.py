"""The whole shop with its five databases on PostgreSQL."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

import shop
import shop.inventory.tables as inventory
import shop.orders.tables as orders
from ottla.testing import EmbeddedBroker
from shop.invoices import read_invoices
from tests.servers.postgres import Postgres
from tests.shop.running import SERVICES, RunningShop, eventually

SAMPLE = Path(shop.__file__).parent / "data" / "orders-2010-12-01.csv"


@pytest.fixture
def databases(postgres: Postgres) -> Iterator[dict[str, str]]:
    """An empty database for each service."""
    mark = uuid.uuid4().hex[:8]
    for name in SERVICES:
        postgres.sql(f"CREATE DATABASE {name}_{mark}")
    yield {name: postgres.url(f"{name}_{mark}") for name in SERVICES}
    for name in SERVICES:
        postgres.sql(f"DROP DATABASE {name}_{mark} WITH (FORCE)")


def test_orders_come_to_their_end_and_repetitions_change_nothing(databases: dict[str, str], tmp_path: Path) -> None:
    with EmbeddedBroker() as broker, RunningShop(broker, tmp_path, databases) as running:
        answers = [running.place(invoice.body()) for invoice in islice(read_invoices(SAMPLE), 60)]
        accepted = sum(answer.status_code == 202 for answer in answers)
        assert accepted > 40
        running.wait_until_all_is_handled()
        ends = Counter(row["progress"] for row in running.rows("orders", orders.orders))
        assert sum(ends.values()) == accepted
        assert set(ends) <= {3, 4, 5, 6}
        on_hand = {row["stock_code"]: row["on_hand"] for row in running.rows("inventory", inventory.stock)}
        running.publish_again()
        running.wait_until_all_is_handled()
        assert Counter(row["progress"] for row in running.rows("orders", orders.orders)) == ends
        assert {row["stock_code"]: row["on_hand"] for row in running.rows("inventory", inventory.stock)} == on_hand
        assert eventually(lambda: len(running.http.get("/orders", params={"limit": 500}).json()["orders"]) == accepted)
