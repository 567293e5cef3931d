"""How keys and values become bytes: the port, and the plain ones. Events have their own in `event_serde.py`."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

from ottla.errors import DecodeError, EncodeError
from ottla.serde.deserializer import Deserializer
from ottla.serde.serializer import Serializer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Codecs:
    """What events are written and read with, from the application's settings: a task binds its serdes to it."""

    serializer: Serializer
    deserializer: Deserializer


class Serde(Generic[T]):
    """Turns values of one type into bytes and back. None is never passed in: a missing value stays missing.

    Contract:
    - **Threads.** Safe to use from several threads.
    - **Failure.** `encode` raises EncodeError, `decode` DecodeError; nothing else because of the data.

    Attributes:
        name: Says in descriptions and in the comparison of topologies what is written; a change of it is a change of
            the stored form.
    """

    name: str = "?"

    def bind(self, codecs: Codecs | None) -> Serde[T]:
        """The serde as a task uses it; most are the same for all."""
        return self

    def fields(self, names: Sequence[str]) -> Serde[Any] | None:
        """A serde that reads values as objects with only some of their fields, for operators that need no more; None
        if there is no quicker way than reading the whole."""
        return None

    def encode(self, value: T, topic: str) -> bytes:
        raise NotImplementedError

    def decode(self, data: bytes, topic: str) -> T:
        raise NotImplementedError

    def encode_many(self, values: Sequence[T | None], topic: str) -> list[bytes | None]:
        """Many values in their order.

        Raises:
            EncodeError: `index` says which one it is.
        """
        encode = self.encode
        done: list[bytes | None] = []
        try:
            for value in values:
                done.append(None if value is None else encode(value, topic))
        except EncodeError as error:
            error.index = len(done)
            raise
        return done

    def decode_many(self, data: Sequence[bytes | None], topic: str) -> list[T | None]:
        """Many values in their order.

        Raises:
            DecodeError: `index` says which one it is.
        """
        decode = self.decode
        done: list[T | None] = []
        try:
            for one in data:
                done.append(None if one is None else decode(one, topic))
        except DecodeError as error:
            error.index = len(done)
            raise
        return done

    def __repr__(self) -> str:
        return f"Serde({self.name})"


class PlainSerde(Serde[T]):
    """A serde made of two functions.

    Args:
        name: What it is called.
        write: From a value to bytes. TypeError, ValueError, AttributeError and struct.error become EncodeError.
        read: From bytes to a value. ValueError (of which UnicodeDecodeError is one) and struct.error become
            DecodeError.
    """

    def __init__(self, name: str, write: Callable[[T], bytes], read: Callable[[bytes], T]) -> None:
        self.name = name
        self._write = write
        self._read = read

    def encode(self, value: T, topic: str) -> bytes:
        try:
            return self._write(value)
        except (TypeError, ValueError, AttributeError, struct.error) as error:
            raise EncodeError(f"{value!r} cannot be written as {self.name} for {topic}: {error}") from error

    def decode(self, data: bytes, topic: str) -> T:
        try:
            return self._read(data)
        except (ValueError, ArithmeticError, struct.error) as error:
            raise DecodeError(f"{data[:40]!r} is no {self.name}: {error}", topic=topic) from error


class _Text(PlainSerde[str]):
    """Text, many at once without a call of ours for each."""

    def encode_many(self, values: Sequence[str | None], topic: str) -> list[bytes | None]:
        try:
            return list(map(str.encode, values))  # type: ignore[arg-type]  # None among them raises TypeError
        except (TypeError, UnicodeEncodeError):
            return super().encode_many(values, topic)

    def decode_many(self, data: Sequence[bytes | None], topic: str) -> list[str | None]:
        try:
            return list(map(bytes.decode, data))  # type: ignore[arg-type]
        except (TypeError, UnicodeDecodeError):
            return super().decode_many(data, topic)


_LONG = struct.Struct(">q")
_DOUBLE = struct.Struct(">d")


def _raw(value: bytes) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"bytes are wanted, not {type(value).__name__}")
    return value


def _text(value: str) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"a str is wanted, not {type(value).__name__}")
    return value.encode()


def _decimal(value: Decimal) -> bytes:
    if not isinstance(value, Decimal):
        raise TypeError(f"a Decimal is wanted, not {type(value).__name__}")
    return str(value).encode()


RAW: Serde[bytes] = PlainSerde("bytes", _raw, bytes)
"""Bytes as they are."""

TEXT: Serde[str] = _Text("text", _text, lambda data: str(data, "utf-8"))
"""UTF-8, as Kafka's StringSerializer."""

LONG: Serde[int] = PlainSerde("long", _LONG.pack, lambda data: int(_LONG.unpack(data)[0]))
"""Eight bytes, big-endian, as Kafka's LongSerializer."""

DOUBLE: Serde[float] = PlainSerde("double", _DOUBLE.pack, lambda data: float(_DOUBLE.unpack(data)[0]))
"""Eight bytes, big-endian, as Kafka's DoubleSerializer."""

BOOLEAN: Serde[bool] = PlainSerde("boolean", lambda value: b"\1" if value else b"\0", lambda data: data == b"\1")
"""One byte."""

DECIMAL: Serde[Decimal] = PlainSerde("decimal", _decimal, lambda data: Decimal(str(data, "ascii")))
"""A Decimal as its text, which loses nothing."""
