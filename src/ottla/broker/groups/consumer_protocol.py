"""What members of the classic protocol tell each other through the broker: subscriptions and assignments.

Groups of protocol type `consumer` share one format, which the broker has to read for three things only: whether a topic
is subscribed to, and to turn members of either protocol into members of the other. All integers are big-endian, strings
and arrays have int16 and int32 sizes; newer versions append fields (1: owned partitions, 2: generation, 3: rack).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

PROTOCOL_TYPE = "consumer"
OWNED_SINCE, RACK_SINCE = 1, 3

Partitions = dict[str, list[int]]


class Malformed(ValueError):
    """The bytes are not what consumers send: a client's own protocol, or nonsense."""


@dataclass(frozen=True)
class Subscription:
    version: int
    topics: list[str]
    owned: Partitions = field(default_factory=dict)
    rack: str | None = None


def read_subscription(data: bytes) -> Subscription:
    """Reads a member's metadata. Raises Malformed."""
    try:
        reader = _Reader(data)
        version = reader.number(">h")
        if version < 0:
            raise Malformed(f"version {version}")
        topics = [reader.text() or "" for _ in range(reader.count())]
        reader.skip_bytes()
        owned = reader.partitions() if version >= OWNED_SINCE else {}
        rack = None
        if version >= RACK_SINCE:
            reader.number(">i")
            rack = reader.text()
        return Subscription(version, topics, owned, rack)
    except (struct.error, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from None


def read_assignment(data: bytes) -> Partitions:
    """Reads what a leader has assigned to a member; no bytes are no partitions. Raises Malformed."""
    if not data:
        return {}
    try:
        reader = _Reader(data)
        reader.number(">h")
        return reader.partitions()
    except (struct.error, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from None


def write_assignment(version: int, assigned: Partitions) -> bytes:
    """An assignment as a leader would have written it."""
    data = bytearray(struct.pack(">hi", version, len(assigned)))
    for topic, indexes in assigned.items():
        name = topic.encode()
        data += struct.pack(">h", len(name)) + name + struct.pack(f">i{len(indexes)}i", len(indexes), *indexes)
    return bytes(data + struct.pack(">i", -1))


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return int(value)

    def count(self) -> int:
        """A number of elements, which cannot be more than the bytes that are left."""
        count = self.number(">i")
        if not 0 <= count <= len(self._data) - self._at:
            raise Malformed(f"an array of {count} elements at byte {self._at}")
        return count

    def text(self) -> str | None:
        size = self.number(">h")
        return None if size < 0 else str(self._take(size), "utf-8")

    def skip_bytes(self) -> None:
        size = self.number(">i")
        if size > 0:
            self._take(size)

    def partitions(self) -> Partitions:
        found: Partitions = {}
        for _ in range(self.count()):
            topic = self.text() or ""
            found.setdefault(topic, []).extend(self.number(">i") for _ in range(self.count()))
        return found

    def _take(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            raise Malformed(f"{size} bytes are announced at byte {self._at}, the message ends at {len(self._data)}")
        self._at += size
        return self._data[self._at - size : self._at]
