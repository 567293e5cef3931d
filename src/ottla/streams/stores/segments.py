"""Time in front of keys: what shares a segment of time shares a prefix, so that all of it goes as one range."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ottla.streams.records import NO_TIMESTAMP
from ottla.streams.stores.base import BytesStore

_SEGMENT = struct.Struct(">q")
SEGMENT_MS_MIN = 60_000


class Segments:
    """A BytesStore cut into segments of time. The segment's number stands in front of each key (8 bytes, big-endian).

    Args:
        retention_ms: What is older than stream time by more than this may go.
        segment_ms: How much time one segment spans; by default half of the retention, a minute at least (as Kafka
            Streams).
    """

    def __init__(self, store: BytesStore, retention_ms: int, segment_ms: int | None) -> None:
        self.bytes = store
        self.retention_ms = retention_ms
        self.segment_ms = segment_ms or max(retention_ms // 2, SEGMENT_MS_MIN)
        self.stream_time_ms = NO_TIMESTAMP
        self._first = 0  # the first segment that may still hold anything

    def prefix(self, timestamp_ms: int) -> bytes:
        """What stands in front of the keys of a time."""
        return _SEGMENT.pack(max(timestamp_ms, 0) // self.segment_ms)

    def observe(self, timestamp_ms: int) -> bool:
        """Notes a time that is about to be written, drops what has expired, and says whether the time itself has not
        expired."""
        if timestamp_ms > self.stream_time_ms:
            self.stream_time_ms = timestamp_ms
            first = max(self.stream_time_ms - self.retention_ms, 0) // self.segment_ms
            if first > self._first:
                self.bytes.drop(None, _SEGMENT.pack(first))
                self._first = first
        return timestamp_ms // self.segment_ms >= self._first

    def expired(self, timestamp_ms: int) -> bool:
        """Whether a time lies before the retention."""
        return timestamp_ms <= self.stream_time_ms - self.retention_ms

    def numbers(self, from_ms: int, to_ms: int, *, reverse: bool = False) -> Iterator[bytes]:
        """The prefixes of the segments that hold anything between two times, both included."""
        low = max(from_ms, 0) // self.segment_ms
        if to_ms < 0:
            return
        edge = _SEGMENT.pack(to_ms // self.segment_ms) + b"\xff" * 9
        if reverse:
            yield from self._backwards(low, edge)
            return
        at = max(low, self._first)
        while True:
            # The next key there is says which segment comes next: empty ones cost nothing.
            found = next(self.bytes.range(_SEGMENT.pack(at), edge), None)
            if found is None:
                return
            yield found[0][:8]
            at = _SEGMENT.unpack(found[0][:8])[0] + 1

    def _backwards(self, low: int, edge: bytes) -> Iterator[bytes]:
        while True:
            found = next(self.bytes.range(_SEGMENT.pack(max(low, self._first)), edge, reverse=True), None)
            if found is None:
                return
            yield found[0][:8]
            edge = found[0][:8]
