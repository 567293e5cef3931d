"""Ottla's listeners: typed events out of Avro, by a sync or an async handler, in batches, or exactly once."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from bench.consumers.job import Job, Meter
from bench.retail import OrderCreated, OrderSeen
from ottla import App, per_key, per_partition
from ottla.settings import KafkaSettings, ListenerSettings, RegistrySettings, Settings


def app_for(job: Job) -> App:
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=job.bootstrap),
        registry=RegistrySettings(url=job.registry),
        listener=ListenerSettings(commit_interval_s=1.0),
    )
    return App(job.group, settings=settings)


def listen(app: App, kind: str, job: Job, meter: Meter) -> None:
    """Declares the handler of a kind: sync, async, batch, or each with `-out` or `-eos` (they publish an event)."""
    exactly_once = kind.endswith("-eos")
    order = per_key(job.parallel) if job.parallel > 1 else per_partition
    seconds = job.await_ms / 1000
    if kind == "sync":

        @app.listen(OrderCreated)
        def handle(order: OrderCreated) -> None:
            meter.one(order.items[0].quantity)

    elif kind == "async":

        @app.listen(OrderCreated, order=order)
        async def handle_async(order: OrderCreated) -> None:
            if seconds:
                await asyncio.sleep(seconds)
            meter.one(order.items[0].quantity)

    elif kind == "batch":

        @app.listen(OrderCreated, batch=500)
        def handle_batch(orders: list[OrderCreated]) -> None:
            meter.many(len(orders), sum(order.items[0].quantity for order in orders))

    elif kind in ("sync-out", "sync-eos"):

        @app.listen(OrderCreated, exactly_once=exactly_once)
        def answer(order: OrderCreated) -> OrderSeen:
            meter.one(order.items[0].quantity)
            return OrderSeen(order.order_id, order.items[0].quantity)

    else:
        raise SystemExit(f"no kind {kind}")


async def main() -> None:
    job, kind = Job.given(), sys.argv[2]
    meter = Meter(job)
    app = app_for(job)
    listen(app, kind, job, meter)
    async with app.running():
        await asyncio.to_thread(meter.done.wait)
    meter.tell()


if __name__ == "__main__":
    uvloop.run(main())
