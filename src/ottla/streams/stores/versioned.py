"""A store that remembers what the value of a key was at a time (KIP-889)."""

from __future__ import annotations

import struct
from typing import Generic, NamedTuple, TypeVar

from ottla.streams.records import NO_TIMESTAMP
from ottla.streams.serdes import Serde
from ottla.streams.stores.base import BytesStore

K = TypeVar("K")
V = TypeVar("V")

_LENGTH = struct.Struct(">I")
_STAMP = struct.Struct(">q")
_TOMBSTONE = b"\0"
_VALUE = b"\1"


class Version(NamedTuple, Generic[V]):
    """A value and how long it was valid: from `valid_from_ms` (included) to `valid_to_ms` (not; None: still)."""

    value: V
    valid_from_ms: int
    valid_to_ms: int | None = None


class VersionedStore(Generic[K, V]):
    """Every version of a key's value within a history. Layout: length of the key (4 bytes), key, valid from (8) -> a
    byte that says whether there is a value, value.

    Args:
        history_ms: How far back of stream time values can be asked for.
    """

    def __init__(
        self,
        store: BytesStore,
        key: Serde[K],
        value: Serde[V],
        topic: str,
        history_ms: int,
        segment_ms: int | None = None,
    ) -> None:
        self.bytes = store
        self.key = key
        self.value = value
        self.topic = topic
        self.history_ms = history_ms
        self.stream_time_ms = NO_TIMESTAMP

    def get(self, key: K, as_of_ms: int | None = None) -> Version[V] | None:
        """The value of a key now, or what it was at a time; None if there was none, or the time is before the
        history."""
        if as_of_ms is not None and as_of_ms < self.stream_time_ms - self.history_ms:
            return None
        prefix = self._prefix(key)
        edge = prefix + (b"\xff" * 9 if as_of_ms is None else _STAMP.pack(as_of_ms) + b"\0")
        found = next(self.bytes.range(prefix, edge, reverse=True), None)
        if found is None or found[1] == _TOMBSTONE:
            return None
        start = _STAMP.unpack(found[0][-8:])[0]
        after = next(self.bytes.range(found[0] + b"\0", prefix + b"\xff" * 9), None)
        until = None if after is None else _STAMP.unpack(after[0][-8:])[0]
        return Version(self.value.decode(found[1][1:], self.topic), start, until)

    def put(self, key: K, value: V | None, timestamp_ms: int) -> bool | None:
        """Sets what the value of a key is from a time on; None: nothing.

        Returns:
            Whether it is the newest version; None if the time is before the history: then nothing happens.
        """
        self.stream_time_ms = max(self.stream_time_ms, timestamp_ms)
        if timestamp_ms < self.stream_time_ms - self.history_ms:
            return None
        prefix = self._prefix(key)
        raw = prefix + _STAMP.pack(timestamp_ms)
        self.bytes.put(raw, _TOMBSTONE if value is None else _VALUE + self.value.encode(value, self.topic))
        self._forget(prefix)
        return next(self.bytes.range(raw + b"\0", prefix + b"\xff" * 9), None) is None

    def delete(self, key: K, timestamp_ms: int) -> Version[V] | None:
        """Says that a key has no value from a time on, and gives what it had then."""
        old = self.get(key, timestamp_ms)
        self.put(key, None, timestamp_ms)
        return old

    def _forget(self, prefix: bytes) -> None:
        """Lets go of versions that were over before the history; the one that was valid then stays."""
        horizon = self.stream_time_ms - self.history_ms
        if horizon <= 0:
            return
        gone = [found for found, _ in self.bytes.range(prefix, prefix + _STAMP.pack(horizon) + b"\0")][:-1]
        for found in gone:
            self.bytes.delete(found)

    def _prefix(self, key: K) -> bytes:
        data = self.key.encode(key, self.topic)
        return _LENGTH.pack(len(data)) + data

    def approximate_count(self) -> int:
        """About how many versions there are."""
        return self.bytes.approximate_count()
