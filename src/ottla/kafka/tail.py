"""Reads one partition from where it ends now: no group, no commits, no rebalances."""

from __future__ import annotations

import time
import uuid

import confluent_kafka

from ottla.errors import BrokerUnavailable
from ottla.kafka.config import open_client
from ottla.kafka.lifeline import Lifeline
from ottla.kafka.record import Record
from ottla.settings import KafkaSettings

AGAIN_S = 0.1


class Tail:
    """The records that are written to a partition after this was made: where it begins is fixed before anything else
    happens, so nothing is missed. Belongs to one thread at a time.

    Args:
        settings: Where the brokers are.
        topic, partition: What to read; it must exist.
        timeout_s: How long to wait for the brokers.

    Raises:
        BrokerUnavailable: No broker said where the partition ends.
    """

    def __init__(self, settings: KafkaSettings, topic: str, partition: int, *, timeout_s: float = 10.0) -> None:
        self._settings = settings
        self._topic, self._partition = topic, partition
        self._consumer = self._open()
        try:
            end = self._end(confluent_kafka.TopicPartition(topic, partition), time.monotonic() + timeout_s)
        except confluent_kafka.KafkaException as error:
            self._consumer.close()
            raise BrokerUnavailable(f"{topic}[{partition}]: its end is not known: {error.args[0]}") from error
        self._read_from(end)

    def _open(self) -> confluent_kafka.Consumer:
        self._lifeline = Lifeline(self._settings)
        return open_client(
            confluent_kafka.Consumer,
            self._settings,
            group_id=self._settings.named(f"ottla-tail-{uuid.uuid4()}"),
            enable_auto_commit=False,
            auto_offset_reset="latest",
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            fetch_queue_backoff_ms=5,
            fetch_wait_max_ms=500,
            error_cb=self._lifeline.told,
        )

    def _read_from(self, offset: int) -> None:
        self._next = offset
        self._consumer.assign([confluent_kafka.TopicPartition(self._topic, self._partition, offset)])

    def _end(self, place: confluent_kafka.TopicPartition, deadline: float) -> int:
        """Asks again for a while: a topic that has just been created is not known everywhere at once."""
        while True:
            try:
                return int(self._consumer.get_watermark_offsets(place, timeout=deadline - time.monotonic())[1])
            except confluent_kafka.KafkaException:
                if time.monotonic() > deadline - AGAIN_S:
                    raise
                time.sleep(AGAIN_S)

    def poll(self, timeout_s: float) -> Record | None:
        """The next record, or None if none came. An outage is waited out."""
        try:
            self._lifeline.check(self._consumer)
        except BrokerUnavailable:
            self._consumer.close()
            self._consumer = self._open()
            self._read_from(self._next)
        message = self._consumer.poll(timeout_s)
        if message is None or message.error() is not None:
            return None
        self._next = (message.offset() or 0) + 1
        return Record.of(message)  # type: ignore[arg-type]  # the library types topic() as optional

    def close(self) -> None:
        self._consumer.close()
