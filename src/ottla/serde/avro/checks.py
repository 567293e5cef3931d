"""What an encoder accepts where the value is not exactly of the field's class."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from typing import Any


def as_items(value: Any) -> Collection[Any]:
    """A value for an array: any sized collection but text, bytes and mappings, whose items are not what is meant.

    Raises:
        TypeError: It is none.
    """
    if isinstance(value, list | tuple | Set):
        return value
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping) or not isinstance(value, Collection):
        raise TypeError(f"{type(value).__name__} is not a list")
    return value


def as_map(value: Any) -> Mapping[str, Any]:
    """A value for a map.

    Raises:
        TypeError: It is no mapping.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{type(value).__name__} is not a dict")
    return value


def as_bytes(value: Any) -> bytes:
    """A value for bytes: bytes, or a bytearray or memoryview, which are copied.

    Raises:
        TypeError: It is none (`bytes(5)` would give five zeros).
    """
    if value.__class__ is bytes:
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise TypeError(f"{type(value).__name__} is not bytes")


def as_fixed(size: int, value: Any) -> bytes:
    """A value for a fixed: bytes, exactly so many.

    Raises:
        TypeError: It is no bytes.
        ValueError: It is longer or shorter.
    """
    data = as_bytes(value)
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes are not {size}")
    return data
