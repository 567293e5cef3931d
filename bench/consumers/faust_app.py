"""Faust: an agent over the topic; it commits what was handled every second."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from typing import Any

import faust

from bench.consumers.avro_reader import reader
from bench.consumers.job import Job, Meter


async def main() -> None:
    logging.disable(logging.WARNING)
    job = Job.given()
    meter, read = Meter(job), reader(job.schema)
    with tempfile.TemporaryDirectory() as folder:
        app = faust.App(
            job.group,
            broker=f"aiokafka://{job.bootstrap}",
            datadir=folder,
            broker_commit_interval=1.0,
            consumer_auto_offset_reset="earliest",
            value_serializer="raw",
            topic_disable_leader=True,
            web_enabled=False,
        )
        topic = app.topic(job.topic, value_type=bytes, value_serializer="raw")

        @app.agent(topic)  # type: ignore[untyped-decorator]
        async def handle(stream: Any) -> None:
            async for value in stream:
                meter.one(read(value)["items"][0]["quantity"])

        await app.start()
        await asyncio.to_thread(meter.done.wait)
        await app.stop()
    meter.tell()


if __name__ == "__main__":
    asyncio.run(main())
