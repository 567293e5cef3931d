"""Stopping and restarting the flow of single partitions."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

WAKE_S = 0.5


def resume(consumer: Any, places: list[TopicPartition]) -> None:
    """Lets records of paused partitions come again, at once.

    librdkafka's `resume` alone does not wake the thread that fetches: where nothing else is fetched from that broker,
    the next record comes up to a second later. A question to the partition's leader wakes it.
    """
    consumer.resume(places)
    # One for each leader would do; who leads is not known here, and an answer takes less than a millisecond.
    for place in places:
        with suppress(KafkaException):
            consumer.get_watermark_offsets(place, timeout=WAKE_S)
