"""A store of windows: values by key and start time, kept for a retention."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from ottla.streams.serdes import Serde
from ottla.streams.stores.base import BytesStore
from ottla.streams.stores.segments import Segments
from ottla.streams.stores.timestamped import Stamped

if TYPE_CHECKING:
    from ottla.streams.stores.write_back import WriteBack

K = TypeVar("K")
V = TypeVar("V")

TAIL = struct.Struct(">qi")
"""Start of the window and sequence number: Kafka Streams' layout behind the key."""

_STAMP = struct.Struct(">q")
END = 2**63 - 1


class WindowStore(Generic[K, V]):
    """Values with timestamps by key and window start. Layout: segment (8 bytes), then Kafka Streams' key (key, start
    (8), sequence number (4)) -> timestamp (8), value.

    A key may have several values for one start (`retain_duplicates`, for joins): then `put` adds.

    Attributes:
        write_back: What an operator keeps of it until the next commit; it is written before anything is read.
    """

    def __init__(
        self,
        store: BytesStore,
        key: Serde[K],
        value: Serde[V],
        topic: str,
        retention_ms: int,
        segment_ms: int | None = None,
        *,
        retain_duplicates: bool = False,
    ) -> None:
        self.bytes = store
        self.key = key
        self.value = value
        self.topic = topic
        self.segments = Segments(store, retention_ms, segment_ms)
        self._duplicates = retain_duplicates
        self._sequence = 0
        self.write_back: WriteBack | None = None

    def fetch(self, key: K, start_ms: int) -> Stamped[V] | None:
        """The value of a key's window; None if there is none."""
        return self.fetch_raw(self.key.encode(key, self.topic), start_ms)

    def fetch_raw(self, key: bytes, start_ms: int) -> Stamped[V] | None:
        """The same by the key's bytes."""
        if self.segments.expired(start_ms):
            return None
        self._written()
        data = self.bytes.get(self.raw_key(key, start_ms))
        return None if data is None else self.decoded(data)

    def fetch_range(
        self, key: K, from_ms: int, to_ms: int, *, reverse: bool = False
    ) -> Iterator[tuple[int, Stamped[V]]]:
        """The windows of a key that start between two times, both included, by their start."""
        return self.fetch_range_raw(self.key.encode(key, self.topic), from_ms, to_ms, reverse=reverse)

    def fetch_range_raw(
        self, key: bytes, from_ms: int, to_ms: int, *, reverse: bool = False
    ) -> Iterator[tuple[int, Stamped[V]]]:
        """The same by the key's bytes."""
        oldest = max(from_ms, self.segments.stream_time_ms - self.segments.retention_ms + 1, 0)
        self._written()
        length = 8 + len(key) + TAIL.size
        for prefix in self.segments.numbers(oldest, to_ms, reverse=reverse):
            low = prefix + key + TAIL.pack(oldest, 0)
            high = prefix + key + TAIL.pack(min(to_ms, END), 2**31 - 1) + b"\0"
            for found, data in self.bytes.range(low, high, reverse=reverse):
                # Longer keys that begin with this one lie in between.
                if len(found) != length or found[8 : 8 + len(key)] != key:
                    continue
                start = TAIL.unpack_from(found, 8 + len(key))[0]
                if oldest <= start <= to_ms:
                    yield start, self.decoded(data)

    def put(self, key: K, value: V | None, start_ms: int, timestamp_ms: int | None = None) -> bool:
        """Sets the value of a key's window; None deletes. False if the window has expired: then nothing happens."""
        return self.put_raw(
            self.key.encode(key, self.topic), value, start_ms, start_ms if timestamp_ms is None else timestamp_ms
        )

    def put_raw(self, key: bytes, value: V | None, start_ms: int, timestamp_ms: int) -> bool:
        """The same by the key's bytes."""
        if not self.segments.observe(start_ms):
            return False
        if self._duplicates:
            if value is None:
                return True
            self._sequence = (self._sequence + 1) & 0x7FFFFFFF
        raw_key = self.raw_key(key, start_ms, self._sequence if self._duplicates else 0)
        if value is None:
            self.bytes.delete(raw_key)
        else:
            self.bytes.put(raw_key, self.encoded(value, timestamp_ms))
        return True

    def all(self, from_ms: int = 0, to_ms: int = END) -> Iterator[tuple[tuple[K, int], Stamped[V]]]:
        """Every window that starts between two times, both included, by key and start within a segment of time."""
        oldest = max(from_ms, self.segments.stream_time_ms - self.segments.retention_ms + 1, 0)
        self._written()
        for prefix in self.segments.numbers(oldest, to_ms):
            for found, data in self.bytes.prefix(prefix):
                start = TAIL.unpack_from(found, len(found) - TAIL.size)[0]
                if oldest <= start <= to_ms:
                    key = self.key.decode(found[8 : -TAIL.size], self.topic)
                    yield (key, start), self.decoded(data)

    def _written(self) -> None:
        if self.write_back is not None:
            self.write_back.write()

    def raw_key(self, key: bytes, start_ms: int, sequence: int = 0) -> bytes:
        """Where a window lies."""
        return self.segments.prefix(start_ms) + key + TAIL.pack(start_ms, sequence)

    def tail(self, start_ms: int) -> bytes:
        """What stands behind the key of a window in a store without duplicates."""
        return TAIL.pack(start_ms, 0)

    def encoded(self, value: V, timestamp_ms: int) -> bytes:
        """A value as it lies in the store."""
        return _STAMP.pack(timestamp_ms) + self.value.encode(value, self.topic)

    def decoded(self, data: bytes) -> Stamped[V]:
        """The other way round."""
        return Stamped(self.value.decode(data[8:], self.topic), _STAMP.unpack_from(data)[0])

    def approximate_count(self) -> int:
        """About how many windows there are."""
        return self.bytes.approximate_count()
