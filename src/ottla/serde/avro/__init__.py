"""Avro's binary encoding: generated encoders and decoders.

Source: Avro 1.12 specification, "Binary Encoding".
"""

from __future__ import annotations

import functools
from typing import Any

from ottla.errors import DecodeError
from ottla.events.derivation import record_shape
from ottla.serde.avro.decoder import Decoder, build_decoder
from ottla.serde.avro.encoder import Encoder, encoder
from ottla.serde.avro.generic import generic_plan
from ottla.serde.avro.nodes import Node, SchemaError, branch_name, parse_schema
from ottla.serde.avro.resolution import Mismatch, resolve

__all__ = ["Decoder", "Encoder", "decoder", "encoder", "generic_decoder", "schema_name"]


def decoder(writer_schema: str, cls: type) -> Decoder:
    """A function that reads what was written with a schema into a class; the two are resolved once, here.

    Args:
        writer_schema: The writer's schema as JSON text.
        cls: A class with fields.

    Raises:
        DecodeError: The schema is no Avro schema, or cannot be read as the class whatever the data.
        EventDefinitionError: The class has a field no schema can be derived from.
    """
    key: Any = cls
    return _resolved(writer_schema, key)


@functools.lru_cache(maxsize=4096)
def _resolved(writer_schema: str, cls: Any) -> Decoder:
    shape = record_shape(cls)
    try:
        node = _parsed(writer_schema)
        return build_decoder(resolve(node, shape), shape.full_name)
    except (Mismatch, RecursionError) as error:
        raise DecodeError(f"the writer's schema cannot be read as {cls.__qualname__}: {error}") from error


@functools.lru_cache(maxsize=4096)
def generic_decoder(writer_schema: str) -> Decoder:
    """A function that reads what was written with a schema into dicts, lists and plain Python values.

    Raises:
        DecodeError: The schema is no Avro schema.
    """
    try:
        node = _parsed(writer_schema)
        return build_decoder(generic_plan(node), branch_name(node))
    except RecursionError as error:
        raise DecodeError("the writer's schema is nested too deeply") from error


def schema_name(schema: str) -> str:
    """The full name of a schema's record; for a schema that is none, its type (`"string"`).

    Raises:
        DecodeError: It is no Avro schema.
    """
    return branch_name(_parsed(schema))


def _parsed(schema: str) -> Node:
    try:
        return parse_schema(schema)
    except SchemaError as error:
        raise DecodeError(f"the writer's schema is not an Avro schema: {error}") from error
