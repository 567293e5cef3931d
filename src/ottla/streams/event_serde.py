"""How events (and other classes with fields) are written and read: in the registry's wire form, as listeners do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from ottla.errors import DecodeError, EventDefinitionError, TopologyError
from ottla.events.declaration import declared_event
from ottla.events.derivation import record_shape
from ottla.events.fields import MISSING, class_fields
from ottla.streams.records import Headers
from ottla.streams.serdes import Codecs, Serde

T = TypeVar("T")


def type_name(cls: type) -> str:
    """What a class is called on the wire."""
    declared = declared_event(cls)
    return declared.name if declared is not None else record_shape(cls).full_name


class EventSerde(Serde[T]):
    """Instances of one class, or of one of several that share a topic.

    Args:
        classes: The classes.
    """

    def __init__(self, *classes: type) -> None:
        self.classes = classes
        self.names = {type_name(cls): cls for cls in classes}
        self.name = "event " + " or ".join(sorted(self.names))

    def __eq__(self, other: object) -> bool:
        return type(other) is EventSerde and other.classes == self.classes

    def __hash__(self) -> int:
        return hash(self.classes)

    def bind(self, codecs: Codecs | None) -> Serde[T]:
        if codecs is None:
            raise TopologyError(
                f"{self.name}: reading and writing events needs a schema registry (codecs=Codecs(serializer, ...))"
            )
        return BoundEventSerde(self.classes, self.names, self.name, codecs)


class BoundEventSerde(Serde[T]):
    """The same, with a registry."""

    def __init__(self, classes: tuple[type, ...], names: dict[str, type], name: str, codecs: Codecs) -> None:
        self.name = name
        self._classes = classes
        self._names = names
        self._codecs = codecs
        self._ours: set[bytes] = set()

    def encode(self, value: T, topic: str) -> bytes:
        return self._codecs.serializer.encode(value, topic)

    def decode(self, data: bytes, topic: str) -> T:
        read = self._codecs.deserializer
        if len(self._classes) == 1:
            return read.decode(data, self._classes[0])
        cls = self._names.get(name := read.record_name(data))
        if cls is None:
            raise DecodeError(f"the value is a {name}, which is none of {', '.join(self._names)}")
        return read.decode(data, cls)

    def decode_many(self, data: Sequence[bytes | None], topic: str) -> list[T | None]:
        if len(self._classes) > 1:
            return super().decode_many(data, topic)
        cls, read_run = self._classes[0], self._codecs.deserializer.decode_run
        if None not in data and len({one[:5] for one in data if one is not None}) == 1:
            return read_run(data, cls)  # type: ignore[arg-type]  # there is no None in it
        present = [one for one in data if one is not None]
        try:
            read: list[Any] = self._codecs.deserializer.decode_many(present, cls)
        except DecodeError as error:
            if len(present) != len(data):
                places = [index for index, one in enumerate(data) if one is not None]
                error.index = places[error.index or 0]
            raise
        if len(present) == len(data):
            return read
        each = iter(read)
        return [None if one is None else next(each) for one in data]

    def others(self, data: Sequence[bytes | None]) -> list[bool] | None:
        """Which values are of other types that share the topic, and so none of this stream; None: none is."""
        # One look per schema and not one per record, where a schema has one type (Protobuf's have several).
        known = self._ours
        if known.issuperset({one[:5] for one in data if one is not None}):
            return None
        found = [one is not None and self._is_other(one) for one in data]
        if not any(found):
            known.update(one[:5] for one in data if one is not None and self._names_one_type(one))
            return None
        return found

    def _names_one_type(self, value: bytes) -> bool:
        """Whether all values with this schema are ours: they can be told by five bytes."""
        try:
            return self._codecs.deserializer.one_type(value)
        except DecodeError:
            return False

    def _is_other(self, value: bytes) -> bool:
        try:
            return self._codecs.deserializer.record_name(value) not in self._names
        except DecodeError:
            return False  # decoding says what is wrong with it

    def framed(self, data: Sequence[bytes | None], headers: Sequence[Headers | None]) -> Sequence[bytes | None]:
        """Values whose schema is named in a header, in the usual form."""
        framed = self._codecs.deserializer.framed
        return [
            None if value is None else framed(value, header) if header else value
            for value, header in zip(data, headers, strict=True)
        ]

    def fields(self, names: Sequence[str]) -> Serde[Any] | None:
        if len(self._classes) != 1:
            return None
        part = projection(self._classes[0], tuple(names))
        return None if part is None else BoundEventSerde((part,), {self.name: part}, self.name, self._codecs)


def projection(cls: type, names: tuple[str, ...]) -> type | None:
    """A class with only some fields of an event class: schema resolution steps over the others without building them.

    None where another class could read something else: upcasters, renamed fields, Protobuf's numbers.
    """
    declared = declared_event(cls)
    if declared is None or declared.version != 1 or declared.rename is not None or declared.format == "protobuf":
        return None
    try:
        fields = {field.name: field for field in class_fields(cls)}
    except EventDefinitionError:
        return None
    parts: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for name in names:
        field = fields.get(name)
        if field is None or field.wire_name != name or (field.optional and field.default is MISSING):
            return None
        parts.append((name, field.annotation, field.default) if field.optional else (name, field.annotation))
    parts.sort(key=len)
    return msgspec.defstruct(cls.__name__, parts, gc=False)
