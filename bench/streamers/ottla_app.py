"""The workloads in Ottla. One process of as many as there are cores."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from bench.retail import OrderCreated
from bench.streamers.job import (
    CUSTOMER_TOTALS,
    GRACE_MS,
    JOIN,
    LEAST_AMOUNT,
    PARTITIONS,
    STATELESS,
    WINDOW_MS,
    WINDOWED,
    Job,
)
from bench.streams_orders import Customer, OrderResult
from ottla.settings import KafkaSettings, RegistrySettings, Settings, StreamsSettings
from ottla.streams import KStream, StreamsBuilder, Sum, tumbling
from ottla.streams.app import StreamsApp


def customer_totals(builder: StreamsBuilder, orders: KStream[str, OrderCreated], job: Job) -> None:
    totals = orders.group_by("customer_id", key=str).aggregate(Sum[Decimal]("total_amount"), store="totals")
    totals.to_stream().to(job.output)


def windowed(builder: StreamsBuilder, orders: KStream[str, OrderCreated], job: Job) -> None:
    windows = tumbling(timedelta(milliseconds=WINDOW_MS), grace=timedelta(milliseconds=GRACE_MS))
    grouped = orders.group_by("customer_id", key=str).windowed_by(windows)
    grouped.aggregate(Sum[Decimal]("total_amount"), store="revenue").to_stream().to(job.output)


def stateless(builder: StreamsBuilder, orders: KStream[str, OrderCreated], job: Job) -> None:
    def result(order: OrderCreated) -> OrderResult:
        return OrderResult(order.order_id, order.customer_id, float(order.total_amount))

    orders.filter(lambda key, order: order.total_amount > LEAST_AMOUNT).map_values(result).to(job.output)


def join(builder: StreamsBuilder, orders: KStream[str, OrderCreated], job: Job) -> None:
    def result(order: OrderCreated, customer: Customer) -> OrderResult:
        return OrderResult(order.order_id, customer.name, float(order.total_amount))

    customers = builder.table(job.customers, key=str, value=Customer)
    orders.join(customers, result).to(job.output)


BUILD: dict[str, Callable[[StreamsBuilder, KStream[str, OrderCreated], Job], None]] = {
    CUSTOMER_TOTALS: customer_totals,
    STATELESS: stateless,
    WINDOWED: windowed,
    JOIN: join,
}


async def main() -> None:
    job = Job.given()
    builder = StreamsBuilder()
    BUILD[job.workload](builder, builder.stream(job.orders, key=str, value=OrderCreated), job)
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=job.bootstrap),
        registry=RegistrySettings(url=job.registry),
        streams=StreamsSettings(
            guarantee="exactly_once" if job.guarantee == "exactly_once" else "at_least_once",
            state_dir=job.state_dir,
            commit_interval_s=job.commit_interval_s,
            store_cache_bytes=job.cache_bytes // PARTITIONS,
        ),
    )
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with StreamsApp(job.application, builder, settings=settings).running():
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main())
