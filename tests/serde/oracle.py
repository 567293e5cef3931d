"""fastavro as the second opinion: the same schema, the same bytes, the same values."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import fastavro

from ottla.events.derivation import record_shape
from ottla.events.schema import schema_text
from ottla.events.shapes import Array, DecimalNumber, Enumeration, Logical, Map, Record, Shape, Union, avro_branch
from ottla.serde.avro.branches import branch_picker


def parsed(schema: str) -> Any:
    return fastavro.parse_schema(json.loads(schema))


def read(data: bytes, writer: str, reader: str | None = None) -> Any:
    """What fastavro reads; fails if it leaves bytes over."""
    stream = io.BytesIO(data)
    value = fastavro.schemaless_reader(stream, parsed(writer), parsed(reader) if reader else None)
    assert stream.read() == b""
    return value


def write(value: Any, schema: str) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, parsed(schema), value)
    return stream.getvalue()


def write_object(value: object) -> bytes:
    """An event written by fastavro with the schema that Ottla derives for its class."""
    return write(named_branches(value), schema_text(type(value)))


def named_branches(value: object) -> Any:
    """An event as fastavro wants it for writing."""
    return plain(record_shape(type(value)), value, naming_branches=True)


def plain_object(value: object) -> Any:
    """What fastavro gives back for an event."""
    return plain(record_shape(type(value)), value)


def plain(shape: Shape, value: Any, *, naming_branches: bool = False) -> Any:
    """The dicts and lists fastavro knows. `naming_branches`: with records in unions as (name, dict), for writing."""

    def go(shape: Shape, value: Any) -> Any:
        match shape:
            case Record():
                return {f.name: go(f.shape, getattr(value, f.attribute)) for f in shape.fields}
            case Array():
                return [go(shape.item, item) for item in value]
            case Map():
                assert isinstance(value, Mapping)
                return {k: go(shape.value, v) for k, v in value.items()}
            case Union():
                branch = shape.branches[branch_picker(shape)(value)]
                inner = go(branch, value)
                return (avro_branch(branch), inner) if naming_branches and isinstance(branch, Record) else inner
            case Enumeration(values=values, symbols=symbols):
                return symbols[values.index(value)]
            case Logical(kind="timedelta"):
                return value // timedelta(microseconds=1)
            case Logical(kind="datetime"):
                assert isinstance(value, datetime)
                return value.astimezone(UTC)
            case DecimalNumber():
                return Decimal(value)
            case _:
                return value.value if isinstance(value, Enum) else value

    return go(shape, value)
