"""FastStream on confluent-kafka or on aiokafka, acknowledging each message after its handler (AckPolicy.ACK)."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from bench.consumers.avro_reader import reader
from bench.consumers.job import Job, Meter


def broker_of(kind: str, job: Job) -> Any:
    """Its broker for a client library: `confluent` or `aiokafka`."""
    if kind == "confluent":
        from faststream.confluent import KafkaBroker as ConfluentBroker

        return ConfluentBroker(job.bootstrap, logger=None)
    from faststream.kafka import KafkaBroker

    return KafkaBroker(job.bootstrap, logger=None)


async def main() -> None:
    from faststream import AckPolicy

    job, kind = Job.given(), sys.argv[2]
    meter, read = Meter(job), reader(job.schema)
    broker = broker_of(kind, job)

    async def decode(message: Any) -> dict[str, Any]:
        return read(message.body)

    @broker.subscriber(
        job.topic, group_id=job.group, auto_offset_reset="earliest", ack_policy=AckPolicy.ACK, decoder=decode
    )
    async def handle(order: dict[str, Any]) -> None:
        meter.one(order["items"][0]["quantity"])

    await broker.start()
    await asyncio.to_thread(meter.done.wait)
    await broker.stop()
    meter.tell()


if __name__ == "__main__":
    asyncio.run(main())
