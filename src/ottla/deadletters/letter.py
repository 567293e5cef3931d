"""One dead letter, read back from its topic."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from ottla.errors import ConfigurationError
from ottla.kafka.record import Headers, Record

REPLAYS_HEADER = "ottla-replays"
"""How often this record has been replayed; it travels with the record, so that a loop can be seen."""

OPEN = "open"
_OWN = ("kafka_dlt-", "ottla-")


class LetterId(msgspec.Struct, frozen=True, order=True):
    """Where a dead letter lies in its topic; written `partition:offset`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> LetterId:
        """Raises ConfigurationError if `text` is not `partition:offset`."""
        partition, colon, offset = text.partition(":")
        if not (colon and partition.isdecimal() and offset.isdecimal()):
            raise ConfigurationError(f"{text!r} names no dead letter: it is PARTITION:OFFSET, such as 0:17")
        return cls(int(partition), int(offset))


class DeadLetter(msgspec.Struct, frozen=True):
    """A record that a service gave up on, and why.

    Attributes:
        id: Where it lies in the dead-letter topic.
        state: `open`, or what became of it: `replayed`, `edited` (and replayed), `parked`, `purged`.
        record: The record as it lies there, headers included.
        topic, partition, offset: Where it came from; partition and offset are -1 if it does not say.
        exception: The exception's full name; empty if it does not say.
        message: What the exception said.
        handler, service: Who gave up.
        attempts: How often it was tried.
        event_id: The event's id.
        replays: How often it has been replayed before it came here (again).
    """

    id: LetterId
    state: str
    record: Record
    topic: str
    partition: int
    offset: int
    exception: str
    message: str
    handler: str
    service: str
    attempts: int
    event_id: str
    replays: int

    @property
    def time(self) -> datetime | None:
        """When it was written, UTC."""
        return self.record.time

    @property
    def original_time(self) -> datetime | None:
        """The original record's timestamp, UTC."""
        number = _number(dict(self.record.headers).get("kafka_dlt-original-timestamp"))
        return datetime.fromtimestamp(number / 1000, UTC) if 0 <= number < 253_402_300_800_000 else None

    @property
    def headers(self) -> Headers:
        """The original record's own headers."""
        return [(name, value) for name, value in self.record.headers if not name.startswith(_OWN)]

    def headers_to_replay(self) -> Headers:
        """The original headers, and how often it has been replayed, this time included."""
        return [*self.headers, (REPLAYS_HEADER, str(self.replays + 1).encode())]

    @classmethod
    def of(cls, record: Record, state: str) -> DeadLetter:
        """Reads the headers, ours and spring-kafka's alike."""
        headers = dict(record.headers)  # the last one of a name: a letter that came twice carries both stories
        return cls(
            id=LetterId(record.partition, record.offset),
            state=state,
            record=record,
            topic=_text(headers.get("kafka_dlt-original-topic")),
            partition=_number(headers.get("kafka_dlt-original-partition")),
            offset=_number(headers.get("kafka_dlt-original-offset")),
            exception=_text(headers.get("kafka_dlt-exception-fqcn")),
            message=_text(headers.get("kafka_dlt-exception-message")),
            handler=_text(headers.get("ottla-handler")),
            service=_text(headers.get("ottla-service")),
            attempts=_count(headers.get("ottla-attempts")),
            event_id=_text(headers.get("ottla-event-id")) or _text(headers.get("ce_id")),
            replays=_count(headers.get(REPLAYS_HEADER)),
        )


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


def _number(value: bytes | None) -> int:
    return int.from_bytes(value, "big", signed=True) if value is not None and len(value) in (4, 8) else -1


def _count(value: bytes | None) -> int:
    text = _text(value)
    return int(text) if text.isdecimal() else 0
