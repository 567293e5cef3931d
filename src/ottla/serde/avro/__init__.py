"""Avro's binary encoding: generated encoders and decoders.

Source: Avro 1.12 specification, "Binary Encoding".
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from ottla.errors import DecodeError, EncodeError
from ottla.events.derivation import record_shape
from ottla.events.upcasting import upcasters
from ottla.serde.avro import engine
from ottla.serde.avro.arrow import record_batch
from ottla.serde.avro.columns import ColumnReader
from ottla.serde.avro.decoder import Decoder, build_decoder
from ottla.serde.avro.encoder import Encoder, build_encoder
from ottla.serde.avro.engine import Engine, active_codec
from ottla.serde.avro.generic import generic_plan
from ottla.serde.avro.nodes import Node, SchemaError, branch_name, parse_schema
from ottla.serde.avro.plan import Plan
from ottla.serde.avro.resolution import Mismatch, resolve
from ottla.serde.avro.upcasting import upcasting_decoder, writer_version

__all__ = [
    "ColumnReader",
    "Decoder",
    "Encoder",
    "active_codec",
    "decode_leading",
    "decode_many",
    "decoder",
    "encode_many",
    "encoder",
    "generic_decoder",
    "record_batch",
    "schema_name",
]


def encoder(cls: type) -> Encoder:
    """A function that writes instances of a class as Avro: `encode(obj)`, or `encode(obj, prefix)` with bytes in front.

    It raises EncodeError, which names the field, for a value that does not fit its field.

    Raises:
        EventDefinitionError: The class has a field no schema can be derived from.
    """
    key: Any = cls
    return _encoder(active_codec(), key)


@functools.lru_cache(maxsize=4096)
def _encoder(by: Engine, cls: Any) -> Encoder:
    shape = record_shape(cls)
    return build_encoder(shape) if by == "pure" else engine.extension_encoder(shape)


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
    return _made(_decoder(active_codec(), writer_schema, key))


def generic_decoder(writer_schema: str) -> Decoder:
    """A function that reads what was written with a schema into dicts, lists and plain Python values.

    Raises:
        DecodeError: The schema is no Avro schema.
    """
    return _made(_generic(active_codec(), writer_schema))


def decode_many(decode: Decoder, payloads: Sequence[bytes], position: int = 0) -> list[Any]:
    """The objects in many payloads of one schema, in their order: in C one loop, without a call for each.

    Args:
        decode: From `decoder` or `generic_decoder`.
        payloads: What was written.
        position: Where in each of them the payload begins (5 in Confluent's wire form).

    Raises:
        DecodeError: A payload is damaged; `index` says which one.
    """
    many = getattr(decode, "many", None)
    if many is not None:
        return many(payloads, position)  # type: ignore[no-any-return]  # of the extension
    read: list[Any] = []
    try:
        for payload in payloads:
            read.append(decode(payload, position))
    except DecodeError as error:
        error.index = len(read)
        raise
    return read


def decode_leading(decode: Decoder, payloads: list[Any], position: int) -> list[Any]:
    """The objects in those payloads, from the first on, that begin with the same bytes as the first: with the same
    schema id in Confluent's wire form.

    Args:
        decode: From `decoder` or `generic_decoder`, for what the first one was written with.
        payloads: What was written, or None; the first one is bytes.
        position: Where in each of them the payload begins.

    Raises:
        DecodeError: A payload is damaged; `index` says which one.
    """
    leading = getattr(decode, "leading", None)
    if leading is not None:
        return leading(payloads, position)  # type: ignore[no-any-return]  # of the extension
    prefix = payloads[0][:position]
    count = next((i for i, one in enumerate(payloads) if one is None or one[:position] != prefix), len(payloads))
    return decode_many(decode, payloads[:count], position)


def encode_many(encode: Encoder, objects: Sequence[Any], prefix: bytes = b"") -> list[bytes]:
    """The payloads of many objects of one class, in their order.

    Args:
        encode: From `encoder`.
        objects: Instances of its class.
        prefix: Bytes to put in front of each payload.

    Raises:
        EncodeError: An object does not fit; `index` says which one.
    """
    many = getattr(encode, "many", None)
    if many is not None:
        return many(objects, prefix)  # type: ignore[no-any-return]  # of the extension
    written: list[bytes] = []
    try:
        for obj in objects:
            written.append(encode(obj, prefix))
    except EncodeError as error:
        error.index = len(written)
        raise
    return written


def schema_name(schema: str) -> str:
    """The full name of a schema's record; for a schema that is none, its type (`"string"`).

    Raises:
        DecodeError: It is no Avro schema.
    """
    return branch_name(_parsed(schema))


# A schema that cannot be read cannot be read the next time either, and the next time is the next record: failures are
# kept like decoders, as their message.
_Made = Decoder | str


def _made(made: _Made) -> Decoder:
    if isinstance(made, str):
        raise DecodeError(made)
    return made


@functools.lru_cache(maxsize=4096)
def _decoder(by: Engine, writer_schema: str, cls: Any) -> _Made:
    shape = record_shape(cls)
    try:
        node = _parsed(writer_schema)
        steps = upcasters(cls, writer_version(writer_schema))
        if steps:
            return upcasting_decoder(_built(by, generic_plan(node), branch_name(node)), steps, shape)
        return _built(by, resolve(node, shape), shape.full_name)
    except DecodeError as error:
        return error.message
    except (Mismatch, RecursionError) as error:
        return f"the writer's schema cannot be read as {cls.__qualname__}: {error}"


@functools.lru_cache(maxsize=4096)
def _generic(by: Engine, writer_schema: str) -> _Made:
    try:
        node = _parsed(writer_schema)
        return _built(by, generic_plan(node), branch_name(node))
    except DecodeError as error:
        return error.message
    except RecursionError:
        return "the writer's schema is nested too deeply"


def _built(by: Engine, plan: Plan, title: str) -> Decoder:
    return build_decoder(plan, title) if by == "pure" else engine.extension_decoder(plan, title)


def _parsed(schema: str) -> Node:
    try:
        return parse_schema(schema)
    except SchemaError as error:
        raise DecodeError(f"the writer's schema is not an Avro schema: {error}") from error
