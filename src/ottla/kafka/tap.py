"""Reads what lies in several topics, again and again, over one connection."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping

import confluent_kafka

from ottla.errors import BrokerUnavailable, KafkaError
from ottla.kafka.config import open_client
from ottla.kafka.record import Record
from ottla.settings import KafkaSettings


class Tap:
    """A reader that is kept open, where `TopicReader` would connect each time. Not thread-safe. Committed records only.

    Args:
        settings: Where the brokers are.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._consumer = open_client(
            confluent_kafka.Consumer,
            settings,
            group_id=f"ottla-tap-{uuid.uuid4()}",
            enable_auto_commit=False,
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            enable_partition_eof=True,
            fetch_wait_max_ms=1,
            fetch_error_backoff_ms=10,
            fetch_queue_backoff_ms=5,
            topic_metadata_refresh_fast_interval_ms=10,
        )

        self._known: set[str] = set()

    def read(self, starts: Mapping[tuple[str, int], int], *, timeout_s: float = 10.0) -> list[Record]:
        """All records from the given offset of each (topic, partition) on, up to where it ends now; each partition's in
        its order.

        Raises:
            BrokerUnavailable: The ends were not reached in time.
            KafkaError: A broker says no.
        """
        if not starts:
            return []
        self._consumer.assign([confluent_kafka.TopicPartition(*place, offset) for place, offset in starts.items()])
        found: list[Record] = []
        open_places, deadline = set(starts), time.monotonic() + timeout_s
        try:
            for topic in {topic for topic, _ in starts} - self._known:
                # The library looks for a topic it meets for the first time once a second; what it is told, it takes.
                self._consumer.list_topics(topic, timeout=timeout_s)
                self._known.add(topic)
            while open_places:
                if time.monotonic() > deadline:
                    raise BrokerUnavailable(f"{sorted(open_places)} could not be read to the end in {timeout_s:g} s")
                for message in self._consumer.consume(1000, 0.001):
                    error = message.error()
                    if error is None:
                        found.append(Record.of(message))  # type: ignore[arg-type]  # topic() is typed as optional
                    elif error.code() == confluent_kafka.KafkaError._PARTITION_EOF:
                        open_places.discard((message.topic() or "", message.partition() or 0))
                    elif not error.retriable():
                        raise KafkaError(f"{message.topic()}[{message.partition()}]: {error.str()}")
        finally:
            self._consumer.unassign()
        return found

    def close(self) -> None:
        self._consumer.close()
