"""How keys with windows are written: as Kafka Streams' TimeWindowedSerde and SessionWindowedSerde."""

from __future__ import annotations

import struct
from typing import Any, TypeVar

from ottla.errors import DecodeError
from ottla.streams.serdes import Codecs, Serde
from ottla.streams.windows import Window, Windowed

K = TypeVar("K")

_START = struct.Struct(">q")
_SPAN = struct.Struct(">qq")


class TimeKeySerde(Serde[Windowed[K]]):
    """A key and the start of its window (8 bytes, big-endian); windows are of one size."""

    def __init__(self, key: Serde[K], size_ms: int) -> None:
        self.name = f"windowed {key.name}"
        self._key = key
        self._size_ms = size_ms

    def bind(self, codecs: Codecs | None) -> Serde[Windowed[K]]:
        return TimeKeySerde(self._key.bind(codecs), self._size_ms)

    def encode(self, value: Windowed[K], topic: str) -> bytes:
        return self._key.encode(value.key, topic) + _START.pack(value.window.start_ms)

    def decode(self, data: bytes, topic: str) -> Windowed[K]:
        start = _unpacked(_START, data, topic)[0]
        return Windowed(self._key.decode(data[: -_START.size], topic), Window(start, start + self._size_ms))


class SessionKeySerde(Serde[Windowed[K]]):
    """A key, the end and the start of its session (8 bytes each, big-endian)."""

    def __init__(self, key: Serde[K]) -> None:
        self.name = f"session {key.name}"
        self._key = key

    def bind(self, codecs: Codecs | None) -> Serde[Windowed[K]]:
        return SessionKeySerde(self._key.bind(codecs))

    def encode(self, value: Windowed[K], topic: str) -> bytes:
        return self._key.encode(value.key, topic) + _SPAN.pack(value.window.end_ms, value.window.start_ms)

    def decode(self, data: bytes, topic: str) -> Windowed[K]:
        end, start = _unpacked(_SPAN, data, topic)
        return Windowed(self._key.decode(data[: -_SPAN.size], topic), Window(start, end))


def _unpacked(form: struct.Struct, data: bytes, topic: str) -> tuple[Any, ...]:
    if len(data) < form.size:
        raise DecodeError(f"{data[:40]!r} is too short for a key with a window", topic=topic)
    return form.unpack_from(data, len(data) - form.size)
