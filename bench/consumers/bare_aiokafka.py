"""aiokafka alone: `getmany`, `value`, a commit every second."""

from __future__ import annotations

import asyncio
import time

from aiokafka import AIOKafkaConsumer

from bench.consumers.job import Job, Meter

COMMIT_S = 1.0


async def main() -> None:
    job = Job.given()
    meter = Meter(job)
    consumer = AIOKafkaConsumer(
        job.topic,
        bootstrap_servers=job.bootstrap,
        group_id=job.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    next_commit = time.monotonic() + COMMIT_S
    while not meter.done.is_set():
        for messages in (await consumer.getmany(timeout_ms=500, max_records=1000)).values():
            for message in messages:
                meter.one(len(message.value))
        if time.monotonic() >= next_commit:
            await consumer.commit()
            next_commit = time.monotonic() + COMMIT_S
    await consumer.commit()
    await consumer.stop()
    meter.tell()


if __name__ == "__main__":
    asyncio.run(main())
