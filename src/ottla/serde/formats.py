"""The formats an event can be written in, behind one port. Each is imported when it is first used."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, Protocol

from ottla.errors import DecodeError, EventDefinitionError
from ottla.events.declaration import declared_event
from ottla.serde.registry import Registered

FormatName = Literal["avro", "json", "protobuf"]

Encoder = Callable[..., bytes]
"""From an object, and the bytes to put in front of its payload, to bytes. Raises EncodeError."""

Decoder = Callable[[bytes, int], Any]
"""From bytes, and the position where the payload begins, to an object. Raises DecodeError."""


class Format(Protocol):
    """What Ottla needs of a format.

    Attributes:
        kind: The registry's name for it.
        content_type: What the envelope says of the payload.
        prefix: What stands between the schema's id and the payload of an event of ours.
        one_type: Whether everything written with one schema is of the same type; in a Protobuf file there are several
            messages, and each value says which.
    """

    kind: str
    content_type: bytes
    prefix: bytes
    one_type: bool

    def schema_text(self, cls: type) -> str:
        """The schema of a class. Raises EventDefinitionError: none can be derived."""
        ...

    def encoder(self, cls: type) -> Encoder:
        """Writes instances of a class. Raises EventDefinitionError: no schema can be derived from it."""
        ...

    def record_name(self, written: Registered, value: bytes) -> str:
        """The full name of the type a value was written as. Raises DecodeError."""
        ...

    def decoder(self, written: Registered, cls: type) -> Decoder:
        """Reads what was written with a schema as a class. Raises DecodeError: that never works."""
        ...

    def generic_decoder(self, written: Registered) -> Decoder:
        """Reads what was written with a schema into dicts, lists and plain values. Raises DecodeError."""
        ...


@functools.cache
def format_named(name: FormatName) -> Format:
    """A format by the name that settings and `@event` use.

    Raises:
        EventDefinitionError: There is none, or its package is not installed.
    """
    found: Format
    if name == "avro":
        from ottla.serde.avro.format import AVRO as found
    elif name == "json":
        from ottla.serde.jsonschema import JSON as found
    elif name == "protobuf":
        try:
            from ottla.serde.protobuf.format import PROTOBUF as found
        except ImportError as error:
            raise EventDefinitionError(
                "events in Protobuf need a package that is not installed: pip install 'ottla[protobuf]'"
            ) from error
    else:
        raise EventDefinitionError(f"format {name!r} is none of avro, json, protobuf")
    return found


_BY_KIND: dict[str, FormatName] = {"AVRO": "avro", "JSON": "json", "PROTOBUF": "protobuf"}


def format_of_kind(kind: str) -> Format:
    """A format by the registry's name for it.

    Raises:
        DecodeError: It is not known here, or its package is not installed.
    """
    if kind not in _BY_KIND:
        raise DecodeError(f"the schema is of type {kind}, which cannot be read here")
    try:
        return format_named(_BY_KIND[kind])
    except EventDefinitionError as error:
        raise DecodeError(str(error)) from error


def format_of_class(cls: type, default: FormatName) -> Format:
    """The format a class is written in: its own (`@event(..., format="json")`), or the default."""
    declared = declared_event(cls)
    return format_named((declared.format if declared is not None else None) or default)
