"""Dead letters of projections: the same as the listeners write."""

from __future__ import annotations

import threading
from typing import Any

from ottla.errors import PublishError
from ottla.kafka.producer import Producer
from ottla.kafka.record import Record
from ottla.listeners.deadletter import dead_letter_headers, dead_letter_topic
from ottla.patterns.projection import Projection
from ottla.settings import KafkaSettings

ACK_S = 30.0


class Letters:
    """Writes dead letters, one at a time.

    Args:
        projection: Whose.
        settings, producer: Where they go.
    """

    def __init__(self, projection: Projection, settings: KafkaSettings, producer: Producer) -> None:
        self._projection = projection
        self._group = settings.named(projection.group)
        self._producer = producer

    def bury(self, record: Record, error: BaseException, attempts: int) -> None:
        """Writes a dead letter and waits for its acknowledgement.

        Raises:
            PublishError: It was not acknowledged; the record must not be passed over.
        """
        topic = dead_letter_topic(record.topic)
        headers = dead_letter_headers(
            _AsMessage(record),
            error,
            group=self._group,
            service=self._projection.service,
            handler=self._projection.name,
            attempts=attempts,
            event_id=f"{record.topic}-{record.partition}-{record.offset}",
        )
        done = threading.Event()
        refusals: list[Any] = []

        def delivered(refusal: Any, _message: Any) -> None:
            if refusal is not None:
                refusals.append(refusal)
            done.set()

        self._producer.send(
            topic, record.value, key=record.key, headers=headers, partition=record.partition, on_delivery=delivered
        )
        if not done.wait(ACK_S) or refusals:
            raise PublishError(f"the dead letter on {topic} was not acknowledged: {refusals or 'no answer'}")


class _AsMessage:
    """A record as the client library gives it."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def topic(self) -> str:
        return self._record.topic

    def partition(self) -> int:
        return self._record.partition

    def offset(self) -> int:
        return self._record.offset

    def timestamp(self) -> tuple[int, int]:
        return 1, self._record.timestamp_ms

    def key(self) -> bytes | None:
        return self._record.key

    def value(self) -> bytes | None:
        return self._record.value

    def headers(self) -> list[tuple[str, bytes | None]]:
        return self._record.headers
