"""Customer totals in Quix Streams: group_by, a total in its state, the total to a topic."""

from __future__ import annotations

import io
import json
import logging
from decimal import Decimal
from typing import Any

from fastavro import parse_schema, schemaless_writer
from quixstreams import Application
from quixstreams.models import Deserializer, SerializationContext, Serializer

from bench.consumers.avro_reader import PREFIX_BYTES, reader
from bench.streamers.job import Job


class Read(Deserializer):  # type: ignore[misc]  # it may not be installed where types are checked
    """fastavro as a deserializer of theirs."""

    def __init__(self, schema: str) -> None:
        super().__init__()
        self._read = reader(schema)

    def __call__(self, value: bytes, ctx: SerializationContext) -> dict[str, Any]:
        return self._read(value)


class Write(Serializer):  # type: ignore[misc]
    """fastavro as a serializer of theirs."""

    def __init__(self, schema: str) -> None:
        super().__init__()
        self._schema = parse_schema(json.loads(schema))

    def __call__(self, value: Any, ctx: SerializationContext) -> bytes:
        data = io.BytesIO(bytes(PREFIX_BYTES))
        data.seek(PREFIX_BYTES)
        schemaless_writer(data, self._schema, value)
        return data.getvalue()


def main() -> None:
    logging.disable(logging.INFO)
    job = Job.given()
    app = Application(
        broker_address=job.bootstrap,
        consumer_group=job.application,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once" if job.guarantee == "exactly_once" else "at-least-once",
        commit_interval=job.commit_interval_s,
        consumer_extra_config={"isolation.level": "read_committed", "fetch.queue.backoff.ms": 5},
        state_dir=job.state_dir,
        loglevel="WARNING",
    )
    totals = app.topic(job.output, key_serializer="str", value_serializer="str")
    orders = app.dataframe(app.topic(job.orders, key_deserializer="str", value_deserializer=Read(job.order_schema)))
    grouped = orders.group_by(
        "customer_id",
        key_serializer="str",
        key_deserializer="str",
        value_serializer=Write(job.order_schema),
        value_deserializer=Read(job.order_schema),
    )

    def add(order: dict[str, Any], state: Any) -> str:
        total = str(Decimal(state.get("total", "0")) + order["total_amount"])
        state.set("total", total)
        return total

    grouped.apply(add, stateful=True).to_topic(totals)
    app.run()


if __name__ == "__main__":
    main()
