"""What the shop's streams came to: the totals per customer, from their topic."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal

from ottla import Admin, Deserializer, KafkaSettings, event_type, read_topic
from shop.streams.results import CustomerTotal

Totals = Mapping[str, tuple[int, Decimal]]

# An order passes three topics on its way through the streams, with a commit at each.
PATIENCE_S = 10.0


def read_customer_totals(kafka: KafkaSettings, deserializer: Deserializer, orders: int) -> Totals:
    """Orders and their sum, by customer, as told last. Waits a moment for as many orders as there are to be in them.

    Raises:
        BrokerUnavailable, RegistryUnavailable: Not there.
    """
    topic = event_type(CustomerTotal).topic
    deadline = time.monotonic() + PATIENCE_S
    while True:
        totals: dict[str, tuple[int, Decimal]] = {}
        if topic in Admin(kafka).topics():
            for record in read_topic(kafka, topic):
                one = deserializer.decode(record.value or b"", CustomerTotal)
                totals[one.customer_id] = one.orders, one.total
        if sum(count for count, _ in totals.values()) == orders or time.monotonic() > deadline:
            return totals
        time.sleep(0.1)
