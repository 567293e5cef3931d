"""Quix Streams: a stateless stream over the topic, at least once, its checkpoints every second."""

from __future__ import annotations

import logging
import tempfile
from typing import Any

from quixstreams import Application
from quixstreams.models import Deserializer, SerializationContext

from bench.consumers.avro_reader import reader
from bench.consumers.job import Job, Meter


class Avro(Deserializer):  # type: ignore[misc]  # it may not be installed where types are checked
    """fastavro as a deserializer of theirs."""

    def __init__(self, schema: str) -> None:
        super().__init__()
        self._read = reader(schema)

    def __call__(self, value: bytes, ctx: SerializationContext) -> dict[str, Any]:
        return self._read(value)


def main() -> None:
    logging.disable(logging.INFO)
    job = Job.given()
    meter = Meter(job)
    with tempfile.TemporaryDirectory() as folder:
        app = Application(
            broker_address=job.bootstrap,
            consumer_group=job.group,
            auto_offset_reset="earliest",
            processing_guarantee="at-least-once",
            commit_interval=1.0,
            state_dir=folder,
            loglevel="WARNING",
        )
        stream = app.dataframe(app.topic(job.topic, value_deserializer=Avro(job.schema)))

        def handle(order: dict[str, Any]) -> None:
            meter.one(order["items"][0]["quantity"])
            if meter.done.is_set():
                app.stop()

        stream.update(handle)
        app.run()
    meter.tell()


if __name__ == "__main__":
    main()
