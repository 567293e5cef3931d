"""confluent-kafka alone, with `consume()`: a thousand messages a call. As bare_confluent otherwise."""

from __future__ import annotations

import time

from confluent_kafka import Consumer

from bench.consumers.bare_confluent import COMMIT_S, settings
from bench.consumers.job import Job, Meter

MESSAGES = 1000


def main() -> None:
    job = Job.given()
    meter = Meter(job)
    consumer = Consumer(settings(job) | {"enable.auto.offset.store": True})
    consumer.subscribe([job.topic])
    next_commit = time.monotonic() + COMMIT_S
    while not meter.done.is_set():
        messages = consumer.consume(MESSAGES, 0.05)
        for message in messages:
            value = message.value()
            assert value is not None
            meter.one(len(value))
        if time.monotonic() >= next_commit:
            consumer.commit(asynchronous=True)
            next_commit = time.monotonic() + COMMIT_S
    consumer.commit(asynchronous=False)
    consumer.close()
    meter.tell()


if __name__ == "__main__":
    main()
