"""A store of typed keys and values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from ottla.streams.serdes import Serde
from ottla.streams.stores.base import BytesStore

K = TypeVar("K")
V = TypeVar("V")


class KeyValueStore(Generic[K, V]):
    """Keys and values, in the order of the keys' bytes. Layout: key -> value, as Kafka Streams'.

    Args:
        topic: What serdes are told the topic is.
    """

    def __init__(self, store: BytesStore, key: Serde[K], value: Serde[V], topic: str) -> None:
        self.bytes = store
        self.key = key
        self.value = value
        self.topic = topic

    def get(self, key: K) -> V | None:
        """The value of a key; None if there is none."""
        data = self.bytes.get(self.key.encode(key, self.topic))
        return None if data is None else self.value.decode(data, self.topic)

    def put(self, key: K, value: V | None) -> None:
        """Sets the value of a key; None deletes."""
        data = self.key.encode(key, self.topic)
        if value is None:
            self.bytes.delete(data)
        else:
            self.bytes.put(data, self.value.encode(value, self.topic))

    def put_if_absent(self, key: K, value: V) -> V | None:
        """Sets the value of a key that has none; gives the value it had."""
        old = self.get(key)
        if old is None:
            self.put(key, value)
        return old

    def delete(self, key: K) -> V | None:
        """Removes a key and gives the value it had."""
        old = self.get(key)
        self.put(key, None)
        return old

    def range(self, low: K | None = None, high: K | None = None, *, reverse: bool = False) -> Iterator[tuple[K, V]]:
        """The pairs with low <= key <= high (both included, as in Kafka Streams), by the order of the keys' bytes."""
        first = None if low is None else self.key.encode(low, self.topic)
        # The key itself is included: the next one in the order of bytes is the first that is not.
        last = None if high is None else self.key.encode(high, self.topic) + b"\0"
        return self._pairs(self.bytes.range(first, last, reverse=reverse))

    def all(self) -> Iterator[tuple[K, V]]:
        """Every pair."""
        return self.range()

    def prefix(self, prefix: bytes) -> Iterator[tuple[K, V]]:
        """The pairs whose key's bytes begin with some bytes."""
        return self._pairs(self.bytes.prefix(prefix))

    def approximate_count(self) -> int:
        """About how many keys there are."""
        return self.bytes.approximate_count()

    def _pairs(self, pairs: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[K, V]]:
        for key, value in pairs:
            yield self.key.decode(key, self.topic), self.value.decode(value, self.topic)
