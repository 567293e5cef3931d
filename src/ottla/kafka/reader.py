"""Reads topics from start to end for tools: no group, no commits."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import confluent_kafka

from ottla.errors import BrokerUnavailable, KafkaError
from ottla.kafka.config import open_client
from ottla.kafka.lifeline import Lifeline
from ottla.kafka.record import Record
from ottla.settings import KafkaSettings

BEGINNING: int = confluent_kafka.OFFSET_BEGINNING
"""As an offset to start from: the first record there is."""


class TopicReader:
    """Reads partitions of one topic from chosen offsets, without a group. Not thread-safe. Close it, or use `with`.

    Args:
        settings: Where the brokers are.
        topic: The topic.
        start: Offset per partition to start from; None is the beginning of every partition.
        timeout_s: How long to wait for the brokers at first.

    Raises:
        BrokerUnavailable: No broker answered in time.
        KafkaError: There is no such topic.
    """

    def __init__(
        self, settings: KafkaSettings, topic: str, *, start: dict[int, int] | None = None, timeout_s: float = 10.0
    ) -> None:
        self.topic = topic
        self._timeout_s = timeout_s
        self._lifeline = Lifeline(settings)
        self._consumer = open_client(
            confluent_kafka.Consumer,
            settings,
            group_id=settings.named(f"ottla-reader-{uuid.uuid4()}"),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            enable_partition_eof=True,
            fetch_queue_backoff_ms=5,
            fetch_wait_max_ms=100,
            error_cb=self._lifeline.told,
        )
        try:
            found = self._consumer.list_topics(topic, timeout=timeout_s).topics[topic]
        except confluent_kafka.KafkaException as error:
            self._consumer.close()
            raise BrokerUnavailable(
                f"no broker answered at {settings.bootstrap_servers} within {timeout_s:g} s: {error.args[0]}"
            ) from error
        if found.error is not None or not found.partitions:
            self._consumer.close()
            reason = found.error.str() if found.error is not None else "it has no partitions"
            raise KafkaError(f"topic {topic}: {reason} at {settings.bootstrap_servers}")
        self.partitions: list[int] = sorted(found.partitions) if start is None else sorted(start)
        self._consumer.assign(
            [
                confluent_kafka.TopicPartition(
                    topic, partition, confluent_kafka.OFFSET_BEGINNING if start is None else start[partition]
                )
                for partition in self.partitions
            ]
        )

    def __enter__(self) -> TopicReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._consumer.close()

    def until_end(self) -> Iterator[Record]:
        """Yields every record up to where the partitions end now (as this reads them).

        Raises:
            BrokerUnavailable: The brokers stopped answering.
        """
        open_partitions = set(self.partitions)
        quiet_since = time.monotonic()
        while open_partitions:
            messages = self._consumer.consume(1000, 0.05)
            if messages:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > self._timeout_s:
                raise BrokerUnavailable(f"topic {self.topic}: no answer from the brokers for {self._timeout_s:g} s")
            for message in messages:
                error = message.error()
                if error is None:
                    yield Record.of(message)  # type: ignore[arg-type]  # the library types topic() as optional
                elif error.code() == confluent_kafka.KafkaError._PARTITION_EOF:
                    open_partitions.discard(message.partition() or 0)
                elif not error.retriable():
                    raise KafkaError(f"topic {self.topic}, partition {message.partition()}: {error.str()}")

    def until(self, ends: dict[int, int]) -> Iterator[Record]:
        """Yields every committed record below the offset that is given for each partition; waits for transactions that
        are open there.

        Raises:
            BrokerUnavailable: Nothing came for `timeout_s`.
        """
        left = {partition: end for partition, end in ends.items() if end > 0}
        quiet_since = time.monotonic()
        while left:
            messages = self._consumer.consume(1000, 0.05)
            if messages:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > self._timeout_s:
                raise BrokerUnavailable(
                    f"topic {self.topic}: nothing came for {self._timeout_s:g} s, and offsets {left} are not reached"
                )
            for message in messages:
                partition, offset, error = message.partition() or 0, message.offset() or 0, message.error()
                at_end = error is not None and error.code() == confluent_kafka.KafkaError._PARTITION_EOF
                if error is not None and not at_end and not error.retriable():
                    raise KafkaError(f"topic {self.topic}, partition {partition}: {error.str()}")
                if error is None and partition in left and offset < left[partition]:
                    yield Record.of(message)  # type: ignore[arg-type]  # the library types topic() as optional
                if (error is None or at_end) and offset + (error is None) >= left.get(partition, offset + 2):
                    del left[partition]

    def follow(self, timeout_s: float) -> Iterator[Record]:
        """Yields the records that arrive within `timeout_s`, then returns; call it again to go on.

        Raises:
            BrokerUnavailable: Only another reader would find a broker.
        """
        self._lifeline.check(self._consumer)
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            message = self._consumer.poll(left)
            if message is None:
                return
            error = message.error()
            if error is None:
                yield Record.of(message)  # type: ignore[arg-type]  # the library types topic() as optional
            elif error.code() != confluent_kafka.KafkaError._PARTITION_EOF and not error.retriable():
                raise KafkaError(f"topic {self.topic}, partition {message.partition()}: {error.str()}")


def read_topic(settings: KafkaSettings, topic: str, *, timeout_s: float = 10.0) -> Iterator[Record]:
    """Yields every record of `topic` from its beginning to its current end, partitions interleaved.

    Raises:
        BrokerUnavailable: No broker answers.
        KafkaError: There is no such topic.
    """
    with TopicReader(settings, topic, timeout_s=timeout_s) as reader:
        yield from reader.until_end()
