"""Stream operators without Kafka: records per second of CPU time on one core, two stages and a commit now and then.

What an application does besides (fetching, producing, committing) is not in it: `python -m bench streams` measures that
beside its peers.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import msgspec

from bench.report import Bar, Report
from ottla import event
from ottla.events import Digits
from ottla.serde import Deserializer, Serializer
from ottla.streams import Codecs, StreamsBuilder, Sum, tumbling
from ottla.streams.records import Headers, RawBatch
from ottla.streams.stores.memory import MemoryStore
from ottla.streams.task import Task, TaskId
from ottla.testing import MemoryRegistry

RECORDS = 100_000
BATCH = 2_000
COMMIT_EVERY = 10  # batches: some 20,000 records, a tenth of a second of a busy application
CUSTOMERS = 4_000

Money = Annotated[Decimal, Digits(12, 2)]


class Item(msgspec.Struct):
    sku: str
    quantity: int
    price: Money


@event("bench-orders", key="order_id")
class Order(msgspec.Struct):
    order_id: str
    customer_id: str
    total_amount: Money
    created_at: datetime
    items: list[Item]


class _Sink:
    def __init__(self) -> None:
        self.batches: dict[str, list[tuple[Sequence[bytes | None], Sequence[bytes | None], Sequence[int]]]] = {}

    def send(self, topic: str, key: bytes | None, value: bytes | None, **more: object) -> None:
        self.batches.setdefault(topic, []).append(([key], [value], [0]))

    def send_many(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        timestamps_ms: Sequence[int],
        headers: Sequence[Headers | None] | None = None,
    ) -> None:
        self.batches.setdefault(topic, []).append((keys, values, timestamps_ms))

    def partitions(self, topic: str) -> int:
        return 1


class _Clock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


def _declared(builder: StreamsBuilder) -> None:
    totals = builder.stream(Order).group_by("customer_id", key=str).aggregate(Sum[Decimal]("total_amount"))
    totals.to_stream().to("totals")


def _by_functions(builder: StreamsBuilder) -> None:
    grouped = builder.stream(Order).group_by(lambda key, order: order.customer_id, key=str)
    totals = grouped.aggregate(Decimal, lambda key, order, total: total + order.total_amount)
    totals.to_stream().to("totals")


def _windowed(builder: StreamsBuilder) -> None:
    grouped = builder.stream(Order).group_by("customer_id", key=str).windowed_by(tumbling(timedelta(hours=1)))
    grouped.aggregate(Sum[Decimal]("total_amount")).to_stream().to("revenue")


def _stateless(builder: StreamsBuilder) -> None:
    orders = builder.stream(Order).filter(lambda key, order: order.total_amount > 5)
    orders.map_values(lambda order: order.total_amount, value=Decimal).to("amounts")


WORKLOADS: dict[str, tuple[str, Callable[[StreamsBuilder], None]]] = {
    "customer_totals": ("customer totals, declared: repartition, sum, changes", _declared),
    "customer_totals_by_functions": ("the same with Python functions", _by_functions),
    "windowed_totals": ("totals per customer and hour, declared", _windowed),
    "stateless": ("filter and map, with Python functions", _stateless),
}


def run(options: argparse.Namespace) -> Report:
    registry = MemoryRegistry()
    codecs = Codecs(Serializer(registry), Deserializer(registry))
    batches = _batches(codecs)
    bars = []
    for name, (_, build) in WORKLOADS.items():
        speeds = [_speed(build, codecs, batches) for _ in range(options.runs + 1)][1:]  # the first warms up
        bars.append(Bar(f"{name}_records_per_cpu_s", speeds, "records/s"))
    text = "\n".join(f"{name}: {title}" for name, (title, _) in WORKLOADS.items())
    return Report("streams-driver", bars, text=text)


def _batches(codecs: Codecs) -> list[RawBatch]:
    chance = random.Random(1)
    items = [Item(f"sku-{n}", n, Decimal("1.25")) for n in range(3)]
    found = []
    for start in range(0, RECORDS, BATCH):
        numbers = range(start, start + BATCH)
        orders = [
            Order(f"o{n}", f"c{chance.randrange(CUSTOMERS)}", Decimal(chance.randrange(10_000)) / 100,
                  datetime.fromtimestamp(n, UTC), items)
            for n in numbers
        ]  # fmt: skip
        keys = [order.order_id.encode() for order in orders]
        values = [codecs.serializer.encode(order, "bench-orders") for order in orders]
        found.append(RawBatch("bench-orders", 0, numbers, [n * 100 for n in numbers], keys, values))
    return found


def _speed(build: Callable[[StreamsBuilder], None], codecs: Codecs, batches: list[RawBatch]) -> float:
    """Records per second of CPU time through all stages, one after the other."""
    builder = StreamsBuilder()
    build(builder)
    topology = builder.build().named("bench")
    sink, inputs, spent = _Sink(), batches, 0.0
    for sub in topology.subtopologies:
        task = Task(topology, TaskId(sub.index, 0), lambda spec: MemoryStore(), sink, _Clock(), codecs=codecs)
        started = time.process_time()
        for number, batch in enumerate(inputs):
            task.process(batch)
            if number % COMMIT_EVERY == COMMIT_EVERY - 1:
                task.flush()
        task.flush()
        spent += time.process_time() - started
        inputs = [
            RawBatch(topic, 0, range(len(keys)), stamps, keys, values)
            for topic, written in sink.batches.items()
            for keys, values, stamps in written
            if topic in topology.source_topics
        ]
        sink.batches.clear()
    return RECORDS / spent
