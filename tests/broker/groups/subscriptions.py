"""A member's metadata as clients write it: version 3 of the consumer protocol's subscription."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence


def _text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


def write_subscription(topics: Sequence[str], owned: Mapping[str, Sequence[int]]) -> bytes:
    data = struct.pack(">hi", 3, len(topics)) + b"".join(map(_text, topics)) + struct.pack(">i", -1)
    data += struct.pack(">i", len(owned))
    for topic, indexes in owned.items():
        data += _text(topic) + struct.pack(f">i{len(indexes)}i", len(indexes), *indexes)
    return data + struct.pack(">i", -1) + struct.pack(">h", -1)
