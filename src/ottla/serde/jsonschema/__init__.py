"""Events as JSON, with a JSON Schema (draft 7) in the registry.

Source: JSON Schema draft 7; the wire form is Confluent's: a zero byte, the schema's id, then JSON in UTF-8.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec

from ottla.errors import DecodeError, EncodeError
from ottla.events.derivation import record_shape
from ottla.serde.formats import Decoder, Encoder
from ottla.serde.jsonschema.schema import json_schema_text
from ottla.serde.plain import DEPTH_MAX, Misfit, PlainCodec
from ottla.serde.registry import Registered

_BYTE = re.compile(r"\(byte (\d+)\)")


class JsonFormat:
    kind = "JSON"
    content_type = b"application/json"
    prefix = b""
    one_type = True

    def schema_text(self, cls: type) -> str:
        return json_schema_text(cls)

    def encoder(self, cls: type) -> Encoder:
        return _encoder(cls)

    def record_name(self, written: Registered, value: bytes) -> str:
        return title(written.text)

    def decoder(self, written: Registered, cls: type) -> Decoder:
        # The reader's class decides: JSON names its fields, so nothing needs the writer's schema.
        return _decoder(cls)

    def generic_decoder(self, written: Registered) -> Decoder:
        return _parsed


JSON = JsonFormat()


@functools.lru_cache(maxsize=4096)
def title(text: str) -> str:
    """What a schema calls what it describes: its title.

    Raises:
        DecodeError: It has none.
    """
    try:
        found: Any = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise DecodeError(f"the writer's schema is not JSON: {error}") from error
    name = found.get("title") if isinstance(found, dict) else None
    if not isinstance(name, str):
        raise DecodeError("the writer's schema has no title, so nothing says which type of event this is")
    return name


@functools.lru_cache(maxsize=4096)
def _codec(cls: Any) -> PlainCodec:
    return PlainCodec(record_shape(cls))


@functools.lru_cache(maxsize=4096)
def _encoder(cls: Any) -> Encoder:
    write = _codec(cls).write
    encode = msgspec.json.Encoder().encode
    name = cls.__qualname__

    def encoded(obj: Any, prefix: bytes = b"") -> bytes:
        try:
            return prefix + encode(write(obj))
        except Misfit as misfit:
            raise EncodeError(f"{name}.{misfit}") from misfit
        except (RecursionError, UnicodeEncodeError, OverflowError) as error:
            raise EncodeError(f"{name} cannot be written as JSON: {error}") from error

    return encoded


@functools.lru_cache(maxsize=4096)
def _decoder(cls: Any) -> Decoder:
    read = _codec(cls).read
    name = cls.__qualname__

    def decoded(value: bytes, position: int) -> Any:
        found = _parsed(value, position)
        try:
            return read(found)
        except Misfit as misfit:
            raise DecodeError(f"the JSON does not fit {name}: {misfit}", position=position) from misfit
        except RecursionError as error:
            raise DecodeError(f"the JSON is nested more than {DEPTH_MAX} deep", position=position) from error

    return decoded


def _parsed(value: bytes, position: int) -> Any:
    try:
        return msgspec.json.decode(memoryview(value)[position:])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        place = _BYTE.search(str(error))
        at = position + (int(place.group(1)) if place else 0)
        raise DecodeError(f"the payload is not JSON: {error}", position=at) from error
    except RecursionError as error:
        raise DecodeError("the JSON is nested too deeply", position=position) from error
