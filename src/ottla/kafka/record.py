"""What a record looks like to the rest of Ottla."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

import msgspec

Headers = list[tuple[str, bytes | None]]


class Message(Protocol):
    """A fetched record as the client library hands it over: accessors, so that nothing unread is ever built."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def headers(self) -> Headers | None: ...
    def timestamp(self) -> tuple[int, int]: ...


class RecordMetadata(msgspec.Struct, frozen=True, gc=False):
    """Where an acknowledged record lies. `timestamp_ms` is milliseconds since the epoch, -1 if the broker gave none."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int = -1


class Record(msgspec.Struct, frozen=True):
    """A record read for a tool: everything of it, as plain values."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]

    @property
    def time(self) -> datetime | None:
        """The record's timestamp in UTC, None if it has none."""
        return datetime.fromtimestamp(self.timestamp_ms / 1000, UTC) if self.timestamp_ms >= 0 else None

    @classmethod
    def of(cls, message: Message) -> Record:
        return cls(
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            timestamp_ms=message.timestamp()[1],
            key=message.key(),
            value=message.value(),
            headers=message.headers() or [],
        )
