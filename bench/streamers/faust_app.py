"""Customer totals in Faust: group_by, a total in a table, the total to a topic."""

from __future__ import annotations

import asyncio
import logging
import signal
from decimal import Decimal
from typing import Any

import aiokafka
import faust

from bench.consumers.avro_reader import reader
from bench.streamers.job import PARTITIONS, Job


def _committed_only() -> None:
    """At least once, Faust reads what is not committed too; the bench lets records loose by a commit."""
    make = aiokafka.AIOKafkaConsumer

    def consumer(*args: Any, **kwargs: Any) -> Any:
        return make(*args, **(kwargs | {"isolation_level": "read_committed"}))

    aiokafka.AIOKafkaConsumer = consumer


async def main() -> None:
    logging.disable(logging.WARNING)
    job = Job.given()
    read = reader(job.order_schema)
    _committed_only()
    app = faust.App(
        job.application,
        broker=f"aiokafka://{job.bootstrap}",
        datadir=job.state_dir,
        broker_commit_interval=job.commit_interval_s,
        consumer_auto_offset_reset="earliest",
        processing_guarantee=job.guarantee,
        value_serializer="raw",
        key_serializer="raw",
        topic_disable_leader=True,
        topic_partitions=PARTITIONS,
        topic_replication_factor=1,
        web_enabled=False,
    )
    orders = app.topic(job.orders, value_type=bytes, key_type=bytes, key_serializer="raw", value_serializer="raw")
    output = app.topic(job.output, value_type=bytes, key_type=bytes, key_serializer="raw", value_serializer="raw")
    totals = app.Table("totals", key_type=str, value_type=str, default=str)

    @app.agent(orders)  # type: ignore[untyped-decorator]
    async def add(stream: Any) -> None:
        by_customer = stream.group_by(lambda value: read(value)["customer_id"].encode(), name="customer_id")
        async for key, value in by_customer.items():
            order = read(value)
            total = str(Decimal(totals[order["customer_id"]] or 0) + order["total_amount"])
            totals[order["customer_id"]] = total
            await output.send(key=key, value=total.encode())

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await app.start()
    await stopped.wait()
    await asyncio.wait_for(app.stop(), 10)


if __name__ == "__main__":
    asyncio.run(main())
