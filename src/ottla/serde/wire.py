"""Confluent's wire form: a zero byte, the schema id as four big-endian bytes, then the payload.

Source: Confluent's "Schema Registry serializers: wire format".
"""

from __future__ import annotations

import struct

from ottla.errors import DecodeError

PREFIX_SIZE = 5

_PREFIX = struct.Struct(">BI")


def prefix(schema_id: int) -> bytes:
    """The five bytes in front of every payload written with a schema."""
    return _PREFIX.pack(0, schema_id)


def frame(schema_id: int, payload: bytes) -> bytes:
    """A payload in wire form."""
    return _PREFIX.pack(0, schema_id) + payload


def schema_id(value: bytes | None) -> int:
    """The schema id of a record's value.

    Raises:
        DecodeError: There is no value, it is shorter than five bytes, or the first byte is not zero.
    """
    if value is None:
        raise DecodeError("the record has no value (a tombstone), so there is no event in it")
    if len(value) < PREFIX_SIZE:
        raise DecodeError(
            f"the value has {len(value)} bytes; Confluent's wire form begins with 5 (a zero byte and the schema id)",
            position=len(value),
        )
    magic, found = _PREFIX.unpack_from(value)
    if magic != 0:
        raise DecodeError(
            f"the value begins with byte 0x{magic:02x}; Confluent's wire form begins with 0x00. "
            "It was not written by a serializer that uses a schema registry",
            position=0,
        )
    return int(found)
