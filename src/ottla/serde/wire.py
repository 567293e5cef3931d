"""Confluent's wire form: a zero byte, the schema id as four big-endian bytes, then the payload.

Source: Confluent's "Schema Registry serializers: wire format".
"""

from __future__ import annotations

import struct
import uuid

from ottla.errors import DecodeError

PREFIX_SIZE = 5

_PREFIX = struct.Struct(">BI")


def prefix(schema_id: int) -> bytes:
    """The five bytes in front of every payload written with a schema."""
    return _PREFIX.pack(0, schema_id)


def frame(schema_id: int, payload: bytes) -> bytes:
    """A payload in wire form."""
    return _PREFIX.pack(0, schema_id) + payload


def header(*, key: bool = False) -> str:
    """The name of the header in which newer clients put the schema, instead of in front of the payload."""
    return "__key_schema_id" if key else "__value_schema_id"


def split_header(named: bytes) -> tuple[int | uuid.UUID, bytes]:
    """What such a header holds: the schema's id or GUID, and what follows (Protobuf: which message).

    Raises:
        DecodeError: It is too short, or begins with neither 0 nor 1.
    """
    if named[:1] == b"\0" and len(named) >= PREFIX_SIZE:
        return int(_PREFIX.unpack_from(named)[1]), named[PREFIX_SIZE:]
    if named[:1] == b"\1" and len(named) >= 17:
        return uuid.UUID(bytes=named[1:17]), named[17:]
    raise DecodeError(f"the header that names the schema holds {named[:20]!r}, which is neither an id nor a GUID")


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
