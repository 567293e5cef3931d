"""The records that `python -m bench streams` gives its programs, and what must come of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.retail import orders
from bench.streamers.job import CUSTOMER_TOTALS, JOIN, LEAST_AMOUNT, STATELESS, WINDOW_MS
from ottla import event
from ottla.serde.serializer import Serializer

DAY_MS = 86_400_000
_START = struct.Struct(">q")


@event("bench-results", key="order_id", namespace="bench")
class OrderResult(msgspec.Struct):
    """What `stateless` and `join` make of an order."""

    order_id: str
    name: str
    total_amount: float


@event("bench-customers", key="customer_id", namespace="bench")
class Customer(msgspec.Struct):
    customer_id: str
    name: str


class Orders:
    """So many orders, ready to be written again and again; each time later by a whole number of days.

    Args:
        count: How many.
        file: In the Online Retail columns; None: the sample day.
        serializer: Writes them.
        topic: Where they will go.
    """

    def __init__(self, count: int, file: Path | None, serializer: Serializer, topic: str) -> None:
        found = list(orders(count, file))
        times = [_ms(order.created_at) for order in found]
        span = max(times) - min(times)
        span += DAY_MS - span % DAY_MS
        self.order_keys = [order.order_id.encode() for order in found]
        self.customer_keys = [order.customer_id.encode() for order in found]
        self.values = [serializer.encode(order, topic) for order in found]
        self.cents = [int(order.total_amount.scaleb(2)) for order in found]
        # The file begins anew when it is used up: time goes on.
        self.times: list[int] = []
        pass_began, last = 0, times[0]
        for time in times:
            if time < last:
                pass_began += span
            last = time
            self.times.append(time + pass_began)
        self.span_ms = pass_began + span
        self.customers = [
            (key, serializer.encode(Customer(key.decode(), f"Customer {key.decode()}"), "bench-customers"))
            for key in dict.fromkeys(self.customer_keys)
        ]

    def first(self, count: int) -> Orders:
        """The same with only the first so many."""
        part = Orders.__new__(Orders)
        part.__dict__ = dict(self.__dict__)
        for name in ("order_keys", "customer_keys", "values", "cents", "times"):
            part.__dict__[name] = self.__dict__[name][:count]
        return part

    def records(self, workload: str, number: int) -> Iterator[tuple[bytes, bytes, int]]:
        """Key, value and timestamp of each, for the round with a number."""
        keys = self.customer_keys if workload == JOIN else self.order_keys
        later = number * self.span_ms
        for key, value, time in zip(keys, self.values, self.times, strict=True):
            yield key, value, time + later

    def totals(self, workload: str, rounds: int) -> dict[bytes, int]:
        """Cents by raw key that the last of so many rounds leads to; for workloads that add up."""
        sums: dict[bytes, int] = {}
        if workload == CUSTOMER_TOTALS:
            for key, cents in zip(self.customer_keys, self.cents, strict=True):
                sums[key] = sums.get(key, 0) + cents
            return {key: cents * rounds for key, cents in sums.items()}
        later = (rounds - 1) * self.span_ms
        for key, cents, time in zip(self.customer_keys, self.cents, self.times, strict=True):
            window = key + _START.pack((time + later) // WINDOW_MS * WINDOW_MS)
            sums[window] = sums.get(window, 0) + cents
        return sums

    def results(self, workload: str) -> tuple[int, int]:
        """How many results a round has, and their sum in cents; for workloads that give one per order."""
        kept = [cents for cents in self.cents if workload != STATELESS or cents > LEAST_AMOUNT * 100]
        return len(kept), sum(kept)


def _ms(time: datetime) -> int:
    return int(time.astimezone(UTC).timestamp()) * 1000
