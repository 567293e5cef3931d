"""What the shop's tests share: invoices, records as handlers meet them, stores on a database of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import MetaData, Table, select

from ottla import App, Context, DatabaseSettings, Envelope, Settings, event_type
from ottla.events import envelope_headers
from shop.events import OrderCreated, OrderLine, ShopEvent
from shop.orders import domain
from shop.store import Store


class Fetched:
    """A fetched record that carries an event's id."""

    def __init__(self, event: ShopEvent, event_id: str, timestamp_ms: int = 1_291_190_400_000) -> None:
        kind = event_type(event)
        self._topic = kind.topic
        self._key = kind.key_of(event)
        self._timestamp_ms = timestamp_ms
        self._headers = envelope_headers(
            Envelope(
                id=event_id,
                type=kind.name,
                source="/test",
                time=datetime(2010, 12, 1, tzinfo=UTC),
                correlation_id=event.order_id,
                causation_id=None,
            )
        )

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 0

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return b""

    def headers(self) -> list[tuple[str, bytes | None]]:
        return list(self._headers)

    def timestamp(self) -> tuple[int, int]:
        return (1, self._timestamp_ms)


def context(event: ShopEvent, event_id: str = "event-1", timestamp_ms: int = 1_291_190_400_000) -> Context:
    """What a handler is told of the record in hand."""
    return Context(Fetched(event, event_id, timestamp_ms), "test")


@contextmanager
def opened(metadata: MetaData, url: str) -> Iterator[Store]:
    """A store on a database, open for the length of the block."""
    store = Store(App("shop-test", settings=Settings(database=DatabaseSettings(url=url))), metadata)
    store.open()
    try:
        yield store
    finally:
        store.close()


def rows(store: Store, table: Table) -> list[dict[str, Any]]:
    """All that a table holds."""
    with store.reading() as connection:
        return [dict(row._mapping) for row in connection.execute(select(table))]


def line(stock_code: str = "A", quantity: int = 1, price: str = "1.00", description: str = "THING") -> OrderLine:
    return OrderLine(stock_code, description, quantity, Decimal(price))


def invoice(
    invoice_no: str = "1000", *lines: OrderLine, customer: str = "17850", at: str = "2010-12-01 10:00"
) -> domain.Invoice:
    return domain.Invoice(
        invoice_no, customer, "United Kingdom", datetime.fromisoformat(at).replace(tzinfo=UTC), list(lines) or [line()]
    )


def order(invoice_no: str = "1000", *lines: OrderLine, customer: str = "17850") -> OrderCreated:
    return domain.created(invoice(invoice_no, *lines, customer=customer))
