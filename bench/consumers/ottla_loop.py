"""One of Ottla's services over the same topic again and again, by seeking back, and the memory it has meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import uvloop

from bench.consumers.job import Job, Meter
from bench.consumers.ottla_app import app_for, listen
from bench.targets import resident_mb

SAMPLE_S = 0.5


async def main() -> None:
    """The arguments are the job (its `records` are those to be handled in all), what is in the topic, and the kind of
    the handler."""
    job, in_topic, kind = Job.given(), int(sys.argv[2]), sys.argv[3]
    meter, curve, passes = Meter(job), list[tuple[int, float]](), 1
    app = app_for(job)
    listen(app, kind, job, meter)
    async with app.running():
        sampled = 0.0
        while not meter.done.is_set():
            if meter.count and time.monotonic() - sampled >= SAMPLE_S:
                sampled = time.monotonic()
                curve.append((meter.count, round(resident_mb(os.getpid()), 1)))
            if meter.count >= passes * in_topic:
                passes += 1
                for partition in range(job.partitions):
                    await app.consumer.seek(job.topic, partition, to="beginning")
            await asyncio.sleep(0.02)
        curve.append((meter.count, round(resident_mb(os.getpid()), 1)))
    print(json.dumps(meter.answer | {"curve": curve}), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
