"""A store of typed values with the time of their last change: what tables are kept in."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from ottla.streams.serdes import Serde
from ottla.streams.stores.base import BytesStore

if TYPE_CHECKING:
    from ottla.streams.stores.write_back import WriteBack

K = TypeVar("K")
V = TypeVar("V")

_STAMP = struct.Struct(">q")


class Stamped(NamedTuple, Generic[V]):
    """A value and the event time of its last change, in milliseconds since the epoch."""

    value: V
    timestamp_ms: int


class TimestampedStore(Generic[K, V]):
    """Keys, and values with their timestamps. Layout: key -> timestamp (8 bytes, big-endian), value; Kafka Streams'.

    Attributes:
        write_back: What an operator keeps of it until the next commit; `get` sees it.
    """

    def __init__(self, store: BytesStore, key: Serde[K], value: Serde[V], topic: str) -> None:
        self.bytes = store
        self.key = key
        self.value = value
        self.topic = topic
        self.write_back: WriteBack | None = None

    def get(self, key: K) -> Stamped[V] | None:
        """The value of a key with its timestamp; None if there is none."""
        return self.get_raw(self.key.encode(key, self.topic))

    def get_raw(self, key: bytes) -> Stamped[V] | None:
        """The same by the key's bytes."""
        if self.write_back is not None and (entry := self.write_back.entries.get(key)) is not None:
            return None if entry.value is None else Stamped(entry.value, entry.timestamp_ms)
        data = self.bytes.get(key)
        return None if data is None else self.decoded(data)

    def put(self, key: K, value: V | None, timestamp_ms: int) -> None:
        """Sets the value of a key; None deletes."""
        self.put_raw(self.key.encode(key, self.topic), value, timestamp_ms)

    def put_raw(self, key: bytes, value: V | None, timestamp_ms: int) -> None:
        """The same by the key's bytes."""
        if value is None:
            self.bytes.delete(key)
        else:
            self.bytes.put(key, self.encoded(value, timestamp_ms))

    def encoded(self, value: V, timestamp_ms: int) -> bytes:
        """A value as it lies in the store."""
        return _STAMP.pack(timestamp_ms) + self.value.encode(value, self.topic)

    def range(
        self, low: K | None = None, high: K | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[K, Stamped[V]]]:
        """The pairs with low <= key <= high (both included), by the order of the keys' bytes."""
        first = None if low is None else self.key.encode(low, self.topic)
        last = None if high is None else self.key.encode(high, self.topic) + b"\0"
        return self._pairs(first, last, reverse)

    def all(self) -> Iterator[tuple[K, Stamped[V]]]:
        """Every pair."""
        return self.range()

    def prefix(self, prefix: bytes) -> Iterator[tuple[K, Stamped[V]]]:
        """The pairs whose key's bytes begin with some bytes."""
        from ottla.streams.stores.base import after_prefix

        return self._pairs(prefix, after_prefix(prefix), False)

    def approximate_count(self) -> int:
        """About how many keys there are."""
        return self.bytes.approximate_count()

    def _pairs(self, low: bytes | None, high: bytes | None, reverse: bool) -> Iterator[tuple[K, Stamped[V]]]:
        if self.write_back is not None:
            self.write_back.write()
        for key, value in self.bytes.range(low, high, reverse=reverse):
            yield self.key.decode(key, self.topic), self.decoded(value)

    def decoded(self, data: bytes) -> Stamped[V]:
        return Stamped(self.value.decode(data[8:], self.topic), self.stamp(data))

    def stamp(self, data: bytes) -> int:
        """The timestamp of what lies in the store."""
        stamp: int = _STAMP.unpack_from(data)[0]
        return stamp
