"""confluent-kafka alone: polls, reads `value()`, commits every second. Nothing is decoded, nothing is handled."""

from __future__ import annotations

import time

from confluent_kafka import Consumer

from bench.consumers.job import Job, Meter

COMMIT_S = 1.0


def settings(job: Job) -> dict[str, object]:
    """What Ottla's listeners ask of the client library, too."""
    return {
        "bootstrap.servers": job.bootstrap,
        "group.id": job.group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        "partition.assignment.strategy": "cooperative-sticky",
        "fetch.queue.backoff.ms": 5,
        "queued.max.messages.kbytes": 16384,
    }


def main() -> None:
    job = Job.given()
    meter = Meter(job)
    consumer = Consumer(settings(job))
    consumer.subscribe([job.topic])
    next_commit = time.monotonic() + COMMIT_S
    poll, store, one, done = consumer.poll, consumer.store_offsets, meter.one, meter.done
    while not done.is_set():
        message = poll(0.5)
        if message is None:
            continue
        value = message.value()
        assert value is not None
        one(len(value))
        store(message)
        if time.monotonic() >= next_commit:
            consumer.commit(asynchronous=True)
            next_commit = time.monotonic() + COMMIT_S
    consumer.commit(asynchronous=False)
    consumer.close()
    meter.tell()


if __name__ == "__main__":
    main()
