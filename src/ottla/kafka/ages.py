"""How old the first record is that a group has not handled: read from the log itself, for tools."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

import confluent_kafka
import msgspec

from ottla.kafka.admin import PartitionLag
from ottla.kafka.config import open_client
from ottla.settings import KafkaSettings

Place = tuple[str, int]

PATIENCE_S = 5.0


def with_ages(
    settings: KafkaSettings, partitions: list[PartitionLag], *, now: float | None = None
) -> list[PartitionLag]:
    """The same partitions, with `seconds` where there is lag; those of which no record could be read stay without."""
    wanted = {(one.topic, one.partition): one.end - one.lag for one in partitions if one.lag}
    found = first_times(settings, wanted)
    now = time.time() if now is None else now

    def age(one: PartitionLag) -> float | None:
        if not one.lag:
            return 0.0
        made_ms = found.get((one.topic, one.partition))
        return None if made_ms is None else max(0.0, round(now - made_ms / 1000, 3))

    return [msgspec.structs.replace(one, seconds=age(one)) for one in partitions]


def first_times(
    settings: KafkaSettings, offsets: Mapping[Place, int], *, timeout_s: float = PATIENCE_S
) -> dict[Place, int]:
    """(topic, partition) to the time of its first committed record from an offset on, in milliseconds since the epoch.

    Left out are those that have none (only the markers of transactions lie there), or gave none in time.
    """
    if not offsets:
        return {}
    consumer = open_client(
        confluent_kafka.Consumer,
        settings,
        group_id=settings.named(f"ottla-ages-{uuid.uuid4()}"),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        allow_auto_create_topics=False,
        enable_partition_eof=True,
        # One record of each is enough.
        fetch_message_max_bytes=1024,
        queued_min_messages=1,
        fetch_wait_max_ms=50,
        error_cb=lambda _error: None,
    )
    try:
        consumer.assign([confluent_kafka.TopicPartition(*place, offset) for place, offset in offsets.items()])
        return _read(consumer, set(offsets), time.monotonic() + timeout_s)
    finally:
        consumer.close()


def _read(consumer: Any, waiting: set[Place], deadline: float) -> dict[Place, int]:
    found: dict[Place, int] = {}
    while waiting and time.monotonic() < deadline:
        for message in consumer.consume(100, 0.05):
            place = message.topic(), message.partition()
            error = message.error()
            if place not in waiting or (error is not None and error.retriable()):
                continue
            if error is None:
                found[place] = message.timestamp()[1]
            waiting.discard(place)
            consumer.incremental_unassign([confluent_kafka.TopicPartition(*place)])
    return found
