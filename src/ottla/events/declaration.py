"""`@event`: which topic a class is published to, by which key, and under which name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, TypeVar

from ottla.errors import EventDefinitionError
from ottla.events.fields import field_names, is_record_class
from ottla.events.names import check_full_name, check_topic

T = TypeVar("T")

Format = Literal["avro", "json", "protobuf"]
Rename = Literal["camel"]

_ATTRIBUTE = "__ottla_event__"
_PLAIN = (str, int, bytes)  # keys of a kind that need no second look


@dataclass(frozen=True, slots=True)
class EventType:
    """What `@event` says about a class.

    Attributes:
        cls: The class itself.
        topic: The topic its events are published to.
        key: The field whose value is the partition key; None for events without a key.
        name: The full name on the wire (`"shop.OrderCreated"`), never the Python module path, so that a class can
            move between modules while old events stay readable.
        format: What its events are written in; None leaves it to the setting `serde.format`.
        version: The version of its definition, where upcasters read older ones.
        rename: "camel" if its fields are written in camel case.
        docs: Whether docstrings go into the schema.
    """

    cls: type
    topic: str
    key: str | None
    name: str
    format: Format | None = None
    version: int = 1
    rename: Rename | None = None
    docs: bool = False

    def key_of(self, obj: object) -> bytes | None:
        """The record key of an event: its key field as UTF-8 text; None if there is no key field or it is None.

        An Enum counts with its value; bytes are taken as they are.

        Raises:
            EventDefinitionError: The key is a record, which has a schema: only a serializer can write it.
        """
        if self.key is None:
            return None
        value: Any = getattr(obj, self.key)
        if value.__class__ is str:
            return value.encode()
        if value is None:
            return None
        if isinstance(value, Enum):
            value = value.value
        if not isinstance(value, _PLAIN) and is_record_class(value.__class__):
            raise EventDefinitionError(
                f"the key of {self.name}, {value.__class__.__qualname__}, has a schema of its own: only a serializer "
                "can write it (`Serializer.key_writer`)"
            )
        return bytes(value) if isinstance(value, bytes) else str(value).encode()


def event(
    topic: str,
    *,
    key: str | None = None,
    name: str | None = None,
    namespace: str | None = None,
    format: Format | None = None,
    version: int = 1,
    rename: Rename | None = None,
    docs: bool = False,
) -> Callable[[type[T]], type[T]]:
    """Declares a dataclass, msgspec.Struct, pydantic v2 model or attrs class as an event type.

    It notes the declaration on the class and returns the same class: nothing is registered anywhere.

    Args:
        topic: The topic its events are published to.
        key: The field whose value becomes the record key: events with the same key stay in order. Text, numbers, ...
            become text; a field that is a dataclass, Struct, ... of its own is written with its own schema, in the
            subject `<topic>-key`.
        name: The event type's name on the wire; default: the class's name.
        namespace: What the name is qualified with (`"shop"` gives `"shop.OrderCreated"`); nested records share it.
        format: "avro", "json" or "protobuf"; None leaves it to the setting `serde.format` (Avro if that says nothing).
        version: Counted up when the class changes in a way that schema resolution cannot follow; `@upcast` functions
            then read what was written before. It stands in the Avro schema from 2 on.
        rename: "camel" writes `order_id` as `orderId`, in nested records too, unless a field has a name of its own
            (msgspec's `rename`, pydantic's alias).
        docs: Put the docstrings of the class and its nested classes into the schema.

    Raises:
        EventDefinitionError: The class has no fields Ottla can read, `key` is none of them, or a name is not allowed.
    """

    def declare(cls: type[T]) -> type[T]:
        where = f"@event on {getattr(cls, '__qualname__', cls)!s}"
        if not is_record_class(cls):
            raise EventDefinitionError(
                f"{where}: it needs a dataclass, msgspec.Struct, pydantic model or attrs class. "
                "If it is to be a dataclass, put @event above @dataclass"
            )
        check_topic(topic, where)
        full_name = f"{namespace}.{name or cls.__name__}" if namespace else name or cls.__name__
        check_full_name(full_name, f"{where}: in {full_name!r}, the part")
        names = field_names(cls)
        if key is not None and key not in names:
            raise EventDefinitionError(f"{where}: key {key!r} is not a field. Its fields: {', '.join(names) or 'none'}")
        if format not in (None, "avro", "json", "protobuf"):
            raise EventDefinitionError(f'{where}: format {format!r} is none of "avro", "json", "protobuf"')
        if rename not in (None, "camel"):
            raise EventDefinitionError(f'{where}: rename {rename!r} is not "camel"')
        if not isinstance(version, int) or version < 1:
            raise EventDefinitionError(f"{where}: version {version!r} is not a whole number from 1 on")
        setattr(cls, _ATTRIBUTE, EventType(cls, topic, key, full_name, format, version, rename, docs))
        return cls

    return declare


def event_type(cls_or_obj: object) -> EventType:
    """The declaration of an event class, or of the class of an event.

    Raises:
        EventDefinitionError: The class was not declared with `@event` (a subclass needs its own).
    """
    declared = declared_event(cls_or_obj)
    if declared is None:
        cls = cls_or_obj if isinstance(cls_or_obj, type) else type(cls_or_obj)
        hint = ""
        if hasattr(cls, _ATTRIBUTE):
            hint = f" (its base {getattr(cls, _ATTRIBUTE).cls.__qualname__} is one, but a subclass needs its own)"
        raise EventDefinitionError(
            f'{cls.__qualname__} is not an event type{hint}. Declare it: @event("topic-name", key="field")'
        )
    return declared


def declared_event(cls_or_obj: object) -> EventType | None:
    """The same as `event_type`, but None where there is no declaration."""
    cls = cls_or_obj if isinstance(cls_or_obj, type) else cls_or_obj.__class__
    declared: EventType | None = getattr(cls, _ATTRIBUTE, None)
    return declared if declared is not None and declared.cls is cls else None
