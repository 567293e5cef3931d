"""Protobuf as one of the formats."""

from __future__ import annotations

import functools
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError as ProtobufDecodeError

from ottla.errors import DecodeError
from ottla.serde.formats import Decoder, Encoder
from ottla.serde.registry import Registered

from .codec import Codec
from .files import ProtoFile, load
from .indexes import FIRST, read_indexes
from .tokens import InvalidProto


class ProtobufFormat:
    kind = "PROTOBUF"
    content_type = b"application/protobuf"
    prefix = FIRST
    one_type = False

    def schema_text(self, cls: type) -> str:
        return _codec(cls).text

    def encoder(self, cls: type) -> Encoder:
        return _codec(cls).encode

    def record_name(self, written: Registered, value: bytes) -> str:
        return _message_name(_file(written.text, tuple(written.references.items())), value, 5)[0]

    def decoder(self, written: Registered, cls: type) -> Decoder:
        # Fields are told apart by their numbers, so the reader's own file is all that is needed.
        return _codec(cls).decode

    def generic_decoder(self, written: Registered) -> Decoder:
        file = _file(written.text, tuple(written.references.items()))

        def decoded(value: bytes, position: int) -> Any:
            name, position = _message_name(file, value, position)
            try:
                message = file.message_class(name).FromString(value[position:])
            except ProtobufDecodeError as error:
                raise DecodeError(f"the payload is no {name}: {error}", position=position) from error
            return json_format.MessageToDict(message, preserving_proto_field_name=True)

        return decoded


PROTOBUF = ProtobufFormat()


@functools.lru_cache(maxsize=4096)
def _codec(cls: Any) -> Codec:
    return Codec(cls)


@functools.lru_cache(maxsize=4096)
def _file(text: str, references: tuple[tuple[str, str], ...]) -> ProtoFile:
    try:
        return load(text, dict(references))
    except InvalidProto as error:
        raise DecodeError(f"the writer's schema is no Protobuf: {error}") from error


def _message_name(file: ProtoFile, value: bytes, position: int) -> tuple[str, int]:
    indexes, position = read_indexes(value, position)
    try:
        return file.full_name(indexes), position
    except IndexError:
        raise DecodeError(f"the writer's schema has no message at {list(indexes)}", position=position) from None
