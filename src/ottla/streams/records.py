"""What a record looks like to a stream application: as it comes from Kafka, and as user code sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

K = TypeVar("K")
V = TypeVar("V")

Headers = list[tuple[str, bytes | None]]

NO_TIMESTAMP = -1


class RawRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as it comes from Kafka. `timestamp_ms` is milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Records of one partition in the order of their offsets, as parallel lists: the quick way into a task.

    Attributes:
        headers: Of each record; None if no record has any.
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    timestamps_ms: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers | None] | None = None

    def __len__(self) -> int:
        return len(self.offsets)

    @classmethod
    def of(cls, records: Sequence[RawRecord]) -> RawBatch:
        """Records of one partition, at least one."""
        headers = [record.headers for record in records]
        return cls(
            records[0].topic,
            records[0].partition,
            [record.offset for record in records],
            [record.timestamp_ms for record in records],
            [record.key for record in records],
            [record.value for record in records],
            headers if any(headers) else None,
        )

    def one(self, index: int) -> RawBatch:
        """One of them as a batch."""
        at = slice(index, index + 1)
        return RawBatch(
            self.topic,
            self.partition,
            self.offsets[at],
            self.timestamps_ms[at],
            self.keys[at],
            self.values[at],
            None if self.headers is None else self.headers[at],
        )

    def record(self, index: int) -> RawRecord:
        """One of them by itself."""
        return RawRecord(
            self.topic,
            self.partition,
            self.offsets[index],
            self.timestamps_ms[index],
            self.keys[index],
            self.values[index],
            list((self.headers and self.headers[index]) or ()),
        )


@dataclass(frozen=True, slots=True)
class Record(Generic[K, V]):
    """A record as user code sees it: key and value decoded.

    Attributes:
        timestamp_ms: Event time, milliseconds since the epoch.
    """

    key: K
    value: V
    timestamp_ms: int = NO_TIMESTAMP
    headers: Headers = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RecordMetadata:
    """Where the record that is being processed came from."""

    topic: str
    partition: int
    offset: int
