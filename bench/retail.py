"""Real orders as Avro records: one order for each line of the Online Retail file, as often as needed."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import cycle, islice
from pathlib import Path

import msgspec

from ottla import event

SAMPLE = Path(__file__).parent.parent / "examples/shop/data/orders-2010-12-01.csv"
CENT = Decimal("0.01")


class OrderItem(msgspec.Struct):
    sku: str
    quantity: int
    price: float


@event("bench-orders", key="order_id", namespace="bench")
class OrderCreated(msgspec.Struct):
    order_id: str
    customer_id: str
    total_amount: Decimal
    created_at: datetime
    items: list[OrderItem]


@event("bench-seen", key="order_id", namespace="bench")
class OrderSeen(msgspec.Struct):
    """What a handler answers an order with."""

    order_id: str
    quantity: int


def orders(count: int, file: Path | None = None) -> Iterator[OrderCreated]:
    """So many orders, the file again from its start where it ends. Every order has an id of its own."""
    lines = list(read_orders(file or SAMPLE))
    for number, order in enumerate(islice(cycle(lines), count)):
        yield msgspec.structs.replace(order, order_id=f"{order.order_id}-{number}")


def read_orders(file: Path) -> Iterator[OrderCreated]:
    """The lines of a file (CSV, or CSV.gz) that sell something to a customer."""
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    for row in csv.DictReader(io.StringIO(data.decode("utf-8"))):
        quantity, price = int(row["Quantity"]), float(row["UnitPrice"])
        if not row["CustomerID"] or quantity <= 0 or price <= 0:
            continue
        yield OrderCreated(
            row["InvoiceNo"],
            row["CustomerID"].removesuffix(".0"),
            (Decimal(str(price)) * quantity).quantize(CENT),
            datetime.fromisoformat(row["InvoiceDate"]).replace(tzinfo=UTC),
            [OrderItem(row["StockCode"], quantity, price)],
        )
