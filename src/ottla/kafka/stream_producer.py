"""The producers of a stream application, one for each guarantee, behind one port."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol, cast

import confluent_kafka

from ottla.errors import BrokerUnavailable, KafkaError, PublishError
from ottla.kafka.config import open_client
from ottla.kafka.record import Headers
from ottla.kafka.transactions import REFUSALS, TransactionalProducer
from ottla.settings import KafkaSettings, StreamsSettings

Report = Callable[[Any, Any], None]
"""Called with (error or None, message) by whoever sends, commits or aborts."""

AGAIN_S = 0.01
FLUSH_S = 5.0
BUFFERED_MAX = 500_000
OURS = {"queue_buffering_max_messages": BUFFERED_MAX, "linger_ms": 5, "batch_num_messages": 50_000}


class StreamProducer(Protocol):
    """Writes outputs and changelogs. One thread at a time.

    Contract: between `begin` and `commit` records are sent in the order of the calls per partition. `commit` returns
    when all of them are acknowledged, together with the offsets where that is possible.
    """

    must_abort: bool

    def begin(self) -> None:
        """Opens a transaction, where there are any."""

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        headers: Headers | None = None,
        partition: int = -1,
        timestamp_ms: int = 0,
        on_delivery: Report | None = None,
    ) -> None:
        """Sends a record; waits while the buffer is full. A timestamp of 0 is now.

        Raises:
            PublishError: It cannot be sent at all.
            KafkaError: What was sent before has failed: `abort`.
        """

    def produce_many(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        timestamps_ms: Sequence[int] | None = None,
        *,
        partition: int = -1,
    ) -> None:
        """The same for many records of one topic."""

    def flush(self) -> None:
        """Sends what waits, and waits until it is settled, well or not."""

    def commit(self, offsets: list[confluent_kafka.TopicPartition], group: Any) -> None:
        """Everything is acknowledged, and in a transaction the offsets are committed with it.

        Raises:
            TransactionAborted, ProducerFenced, BrokerUnavailable, KafkaError: As `TransactionalProducer.transaction`.
        """

    def abort(self) -> None:
        """Undoes what can be undone."""

    def close(self) -> None:
        """Gives the client up."""


class _Sending:
    """How both of them send."""

    _producer: confluent_kafka.Producer
    must_abort: bool = False

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        headers: Headers | None = None,
        partition: int = -1,
        timestamp_ms: int = 0,
        on_delivery: Report | None = None,
    ) -> None:
        while True:
            try:
                if on_delivery is None:
                    self._producer.produce(
                        topic, value, key, partition, timestamp=max(0, timestamp_ms), headers=cast(Any, headers)
                    )
                else:
                    self._producer.produce(
                        topic,
                        value,
                        key,
                        partition,
                        on_delivery=on_delivery,
                        timestamp=max(0, timestamp_ms),
                        headers=cast(Any, headers),
                    )
                return
            except BufferError:
                self._producer.poll(AGAIN_S)
            except confluent_kafka.KafkaException as error:
                raise self._refused(topic, error) from error

    def produce_many(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        timestamps_ms: Sequence[int] | None = None,
        *,
        partition: int = -1,
    ) -> None:
        # Arguments by place: with names each call costs a third more.
        produce: Any = self._producer.produce
        at = 0
        while at < len(keys):
            try:
                if timestamps_ms is None:
                    for at in range(at, len(keys)):  # noqa: B020  goes on where the buffer was full
                        produce(topic, values[at], keys[at], partition)
                else:
                    for at in range(at, len(keys)):  # noqa: B020
                        timestamp = timestamps_ms[at]
                        produce(topic, values[at], keys[at], partition, None, None, timestamp if timestamp > 0 else 0)
                return
            except BufferError:
                self._producer.poll(AGAIN_S)
            except confluent_kafka.KafkaException as error:
                raise self._refused(topic, error) from error

    def flush(self) -> None:
        self._producer.flush(FLUSH_S)

    def _refused(self, topic: str, error: confluent_kafka.KafkaException) -> KafkaError:
        if error.args[0].name() in REFUSALS:
            return PublishError(f"topic {topic}: the record cannot be sent: {error.args[0]}")
        self.must_abort = True
        return self._told(error)

    def _told(self, error: confluent_kafka.KafkaException) -> KafkaError:
        return KafkaError(error.args[0].str())


class ExactlyOnceProducer(_Sending, TransactionalProducer):
    """Outputs, changelogs and offsets in one transaction (KIP-98, KIP-447)."""

    def __init__(
        self, settings: KafkaSettings, streams: StreamsSettings, transactional_id: str, client_id: str
    ) -> None:
        super().__init__(
            settings,
            transactional_id,
            transaction_timeout_s=streams.transaction_timeout_s,
            client_id=client_id,
            **OURS,
        )

    def commit(self, offsets: list[confluent_kafka.TopicPartition] | None = None, group: Any = None) -> None:
        if offsets:
            self.send_offsets(offsets, group)
        super().commit()

    def _told(self, error: confluent_kafka.KafkaException) -> KafkaError:
        return TransactionalProducer._told(self, error)


class AtLeastOnceProducer(_Sending):
    """Outputs and changelogs, acknowledged before offsets are committed."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        chosen: dict[str, Any] = {
            "client_id": client_id,
            "enable_idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "message_timeout_ms": 0,
            "message_max_bytes": 16 << 20,
            "error_cb": lambda _error: None,
            # Nothing else would tell that a record was refused.
            "on_delivery": self._delivered,
        }
        self._timeout_s = settings.publish_timeout_s
        self._producer = open_client(confluent_kafka.Producer, settings, **(chosen | OURS))
        self._failure: Any = None

    def begin(self) -> None:
        self._failure = None
        self.must_abort = False

    def commit(self, offsets: list[confluent_kafka.TopicPartition], group: Any) -> None:
        deadline = time.monotonic() + self._timeout_s
        while left := self._producer.flush(0.5):
            if time.monotonic() > deadline:
                raise BrokerUnavailable(f"{left} records were not acknowledged within {self._timeout_s:g} s")
        if self._failure is not None:
            raise KafkaError(f"a record was refused: {self._failure.str()}")

    def abort(self) -> None:
        """What was sent stays: that is what at least once means."""
        self._producer.flush(1.0)

    def close(self) -> None:
        with suppress(confluent_kafka.KafkaException):
            self._producer.purge()
            self._producer.poll(0)

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failure = self._failure or error
            self.must_abort = True
