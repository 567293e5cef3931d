"""A store of sessions: values by key, start and end, kept for a retention after their end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from ottla.streams.serdes import Serde
from ottla.streams.stores.base import BytesStore
from ottla.streams.stores.segments import Segments

K = TypeVar("K")
V = TypeVar("V")

TAIL = struct.Struct(">qq")
"""End and start of the session: Kafka Streams' layout behind the key."""

END = 2**63 - 1


class Session(NamedTuple, Generic[V]):
    """A session: from its first to its last record, both included, in milliseconds since the epoch."""

    start_ms: int
    end_ms: int
    value: V


class SessionStore(Generic[K, V]):
    """Values by key and session. Layout: segment of the end (8 bytes), then Kafka Streams' key (key, end (8), start
    (8)) -> value."""

    def __init__(
        self,
        store: BytesStore,
        key: Serde[K],
        value: Serde[V],
        topic: str,
        retention_ms: int,
        segment_ms: int | None = None,
    ) -> None:
        self.bytes = store
        self.key = key
        self.value = value
        self.topic = topic
        self.segments = Segments(store, retention_ms, segment_ms)

    def find(self, key: K, earliest_end_ms: int, latest_start_ms: int) -> Iterator[Session[V]]:
        """The sessions of a key that end at the first time or later and start at the second or earlier."""
        return self.find_raw(self.key.encode(key, self.topic), earliest_end_ms, latest_start_ms)

    def find_raw(self, key: bytes, earliest_end_ms: int, latest_start_ms: int) -> Iterator[Session[V]]:
        """The same by the key's bytes."""
        oldest = max(earliest_end_ms, self.segments.stream_time_ms - self.segments.retention_ms + 1, 0)
        length = 8 + len(key) + TAIL.size
        for prefix in self.segments.numbers(oldest, END - 1):
            low = prefix + key + TAIL.pack(oldest, 0)
            high = prefix + key + b"\xff" * (TAIL.size + 1)
            for found, data in self.bytes.range(low, high):
                if len(found) != length or found[8 : 8 + len(key)] != key:
                    continue
                end, start = TAIL.unpack_from(found, 8 + len(key))
                if end >= oldest and start <= latest_start_ms:
                    yield Session(start, end, self.value.decode(data, self.topic))

    def fetch(self, key: K) -> Iterator[Session[V]]:
        """Every session of a key."""
        return self.find(key, 0, END)

    def get(self, key: K, start_ms: int, end_ms: int) -> V | None:
        """The value of a session; None if there is none."""
        data = self.bytes.get(self.raw_key(self.key.encode(key, self.topic), start_ms, end_ms))
        return None if data is None else self.value.decode(data, self.topic)

    def put(self, key: K, start_ms: int, end_ms: int, value: V | None) -> bool:
        """Sets the value of a session; None deletes. False if it has expired: then nothing happens."""
        return self.put_raw(self.key.encode(key, self.topic), start_ms, end_ms, value)

    def put_raw(self, key: bytes, start_ms: int, end_ms: int, value: V | None) -> bool:
        """The same by the key's bytes."""
        if not self.segments.observe(end_ms):
            return False
        raw_key = self.raw_key(key, start_ms, end_ms)
        if value is None:
            self.bytes.delete(raw_key)
        else:
            self.bytes.put(raw_key, self.value.encode(value, self.topic))
        return True

    def all(self) -> Iterator[tuple[K, Session[V]]]:
        """Every session, by key and end within a segment of time."""
        oldest = max(self.segments.stream_time_ms - self.segments.retention_ms + 1, 0)
        for prefix in self.segments.numbers(oldest, END - 1):
            for found, data in self.bytes.prefix(prefix):
                end, start = TAIL.unpack_from(found, len(found) - TAIL.size)
                if end >= oldest:
                    value = self.value.decode(data, self.topic)
                    yield self.key.decode(found[8 : -TAIL.size], self.topic), Session(start, end, value)

    def raw_key(self, key: bytes, start_ms: int, end_ms: int) -> bytes:
        """Where a session lies."""
        return self.segments.prefix(end_ms) + key + TAIL.pack(end_ms, start_ms)

    def encoded(self, value: V, timestamp_ms: int) -> bytes:
        """A value as it lies in the store: sessions have no timestamp besides their end."""
        return self.value.encode(value, self.topic)

    def approximate_count(self) -> int:
        """About how many sessions there are."""
        return self.bytes.approximate_count()
