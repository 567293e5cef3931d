"""The shop's running totals per customer, from the real orders, against the file itself, to the cent."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ottla import KafkaSettings, RegistryClient, RegistrySettings, Settings, StreamsApp, StreamsSettings
from ottla.kafka.admin import Admin
from ottla.kafka.producer import Producer
from ottla.kafka.reader import read_topic
from ottla.serde import Deserializer, Serializer
from ottla.testing import EmbeddedBroker, EmbeddedRegistry
from shop.events import OrderCancelled, OrderCreated, OrderLine
from shop.invoices import Invoice, read_invoices
from shop.totals.service import CustomerTotal, Total, builder

DATA = Path(__file__).parents[2] / "examples" / "shop" / "data" / "orders-2010-12-01.csv"
PATIENCE_S = 60.0


def placed(invoice: Invoice) -> OrderCreated | None:
    """What the orders service makes of an invoice, if it takes it."""
    lines = [line for line in invoice.lines if line.quantity > 0 and line.unit_price > 0]
    if invoice.is_cancellation or invoice.customer_id is None or not lines:
        return None
    return OrderCreated(
        order_id=invoice.invoice_no,
        invoice_no=invoice.invoice_no,
        customer_id=invoice.customer_id,
        country=invoice.country,
        invoice_date=datetime(2010, 12, 1, tzinfo=UTC),
        lines=[OrderLine(line.stock_code, line.description, line.quantity, line.unit_price) for line in lines],
        total=sum((line.quantity * line.unit_price for line in lines), Decimal(0)),
    )


def known_answers() -> dict[str, Total]:
    """From the file's columns, by pandas in whole cents: shares no code with what is tested."""
    pandas = pytest.importorskip("pandas")
    rows = pandas.read_csv(DATA, dtype=str, keep_default_na=False)
    rows = rows[(rows.CustomerID != "") & ~rows.InvoiceNo.str.startswith("C")]
    rows = rows[(rows.Quantity.astype(int) > 0) & (rows.UnitPrice.astype(float) > 0)]
    rows = rows.assign(units=rows.UnitPrice.astype(float).mul(1000).round().astype(int) * rows.Quantity.astype(int))
    found = rows.groupby("CustomerID").agg(orders=("InvoiceNo", "nunique"), units=("units", "sum"))
    return {
        str(customer).removesuffix(".0"): Total(int(row.orders), Decimal(int(row.units)) / 1000)
        for customer, row in found.iterrows()
    }


async def test_every_customers_total_is_that_of_the_file_also_after_a_restart(
    kafka: EmbeddedBroker, kafka_registry: EmbeddedRegistry, topic_name: str, tmp_path: Path
) -> None:
    orders = [order for invoice in read_invoices(DATA) if (order := placed(invoice)) is not None]
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_partitions=3),
        registry=RegistrySettings(url=kafka_registry.url),
        streams=StreamsSettings(state_dir=str(tmp_path)),
    )
    name = f"customer-totals-{topic_name}"
    admin = Admin(settings.kafka)
    admin.ensure_topics({"order-events": 3, "customer-totals": 3})
    before = len(orders) // 2
    write(settings, orders[:before])
    async with StreamsApp(name, builder, settings=settings).running() as app:
        await told(settings, before)
    write(settings, orders[before:])
    async with StreamsApp(name, builder, settings=settings).running() as app:
        last, counts = await told(settings, len(orders))
        store = app.queries.store("customer-totals")
        kept = await asyncio.to_thread(lambda: {customer: one.value for customer, one in store.range(limit=1_000)})
    expected = known_answers()
    assert {customer: Total(*state) for customer, state in kept.items()} == expected
    assert {one.customer_id: Total(one.orders, one.total) for one in last.values()} == expected
    # Some totals are not told: a commit tells the last one of each customer. None is told twice, none goes back.
    assert all(numbers == sorted(set(numbers)) for numbers in counts.values())


def write(settings: Settings, orders: list[OrderCreated]) -> None:
    """Among other events of the same topic, which are not of the totals' concern."""
    producer, serializer = Producer(settings.kafka), Serializer(RegistryClient(settings.registry.url))
    for order in orders:
        cancelled = OrderCancelled(order.order_id, None, order.customer_id, [], False)
        for one in (order, cancelled):
            producer.send("order-events", serializer.encode(one, "order-events"), key=order.order_id.encode())
    assert producer.close(PATIENCE_S) == 0


async def told(settings: Settings, orders: int) -> tuple[dict[str, CustomerTotal], dict[str, list[int]]]:
    """Waits until so many orders are in the totals; gives the last total of each customer, and its counts in order."""
    deserializer = Deserializer(RegistryClient(settings.registry.url))
    deadline = time.monotonic() + PATIENCE_S
    while True:
        last: dict[str, CustomerTotal] = {}
        counts: dict[str, list[int]] = defaultdict(list)
        for record in await asyncio.to_thread(lambda: list(read_topic(settings.kafka, "customer-totals"))):
            one = deserializer.decode(record.value or b"", CustomerTotal)
            last[one.customer_id] = one
            counts[one.customer_id].append(one.orders)
        if sum(one.orders for one in last.values()) >= orders:
            return last, dict(counts)
        assert time.monotonic() < deadline, f"{sum(one.orders for one in last.values())} of {orders} orders counted"
        await asyncio.sleep(0.1)
