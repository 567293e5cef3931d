"""Event time: when a customer ordered, not when the shop heard of it.

Settling a payment is about the shop's own clock, revenue and fraud are about the customers'. So the orders are read
once, with Kafka's timestamps, and dated anew on the way to the windows that ask for it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from ottla.streams import KStream, Materialized, Processor, ProcessorContext, Record
from shop.events import OrderCreated

V = TypeVar("V")

# How long after its date an order still counts: one that waited in the outbox, one of a file that is placed weeks
# later, one that another partition has overtaken while a backlog is worked off.
LATE = timedelta(days=31)


class Redate(Processor[str, OrderCreated]):
    """Gives each order the time of its invoice."""

    def init(self, context: ProcessorContext[str, OrderCreated]) -> None:
        self.context = context

    def process(self, record: Record[str, OrderCreated]) -> None:
        placed_ms = round(record.value.invoice_date.timestamp() * 1000)
        self.context.forward(Record(record.key, record.value, placed_ms, record.headers))


def by_invoice_date(orders: KStream[str, OrderCreated]) -> KStream[str, OrderCreated]:
    """The same orders, by the time of their invoices."""
    return orders.process_values(Redate, value=OrderCreated, name="by-invoice-date")


class Stamp(Processor[str, V]):
    """Gives each record the time by the clock."""

    def init(self, context: ProcessorContext[str, V]) -> None:
        self.context = context

    def process(self, record: Record[str, V]) -> None:
        self.context.forward(Record(record.key, record.value, self.context.wall_clock_ms, record.headers))


def told_now(results: KStream[str, V], name: str) -> KStream[str, V]:
    """The same results, by the time at which they are told. A broker keeps records for a week by their time, and would
    forget at once what bears the date of an old order."""
    return results.process_values(Stamp[V], value=results.value, name=name)


def kept(store: str) -> Materialized:
    """A windowed store whose changelog forgets nothing by the clock: real orders may be years old, and a broker deletes
    by the records' time."""
    return Materialized(store, changelog_config={"cleanup.policy": "compact"})
