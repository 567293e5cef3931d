"""Which serde a type has, and what type a function gives back: so that few have to be named."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from ottla.errors import DecodeError, EncodeError, TopologyError
from ottla.events.fields import is_record_class
from ottla.streams.event_serde import EventSerde
from ottla.streams.serdes import BOOLEAN, DECIMAL, DOUBLE, LONG, RAW, TEXT, Serde

T = TypeVar("T")

_PLAIN: dict[Any, Serde[Any]] = {
    str: TEXT,
    bytes: RAW,
    int: LONG,
    float: DOUBLE,
    bool: BOOLEAN,
    Decimal: DECIMAL,
}


class JsonSerde(Serde[T]):
    """Any type msgspec knows (lists, dicts, tuples, datetimes, unions, ...), as JSON."""

    def __init__(self, kind: Any) -> None:
        self.name = f"json {getattr(kind, '__qualname__', None) or kind}"
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def encode(self, value: T, topic: str) -> bytes:
        try:
            return msgspec.json.encode(value)
        except (TypeError, ValueError) as error:
            raise EncodeError(f"{value!r} cannot be written as {self.name} for {topic}: {error}") from error

    def decode(self, data: bytes, topic: str) -> T:
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, ValueError) as error:
            raise DecodeError(f"{data[:40]!r} is no {self.name}: {error}", topic=topic) from error


Kind = type[T] | Serde[T]
"""What says how something is written: a serde, or a type that has one."""


def serde_of(kind: Any) -> Serde[Any]:
    """The serde of a type: text, numbers and bytes as Kafka's own serializers, classes with fields as events, the rest
    as JSON. A serde stands for itself.

    Raises:
        TopologyError: The type has none.
    """
    if isinstance(kind, Serde):
        return kind
    kind = _plain_type(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if is_record_class(kind):
        return EventSerde(kind)
    try:
        return JsonSerde(kind)
    except TypeError as error:
        raise TopologyError(f"type {kind!r} has no serde: {error}. Name one") from error


def _plain_type(kind: Any) -> Any:
    """Without what `Annotated` and `NewType` add: state and keys are written by the type itself."""
    while True:
        if typing.get_origin(kind) is typing.Annotated:
            kind = typing.get_args(kind)[0]
        elif isinstance(kind, typing.NewType):
            kind = kind.__supertype__
        else:
            return kind


def given(kind: Any, otherwise: Serde[Any] | None) -> Serde[Any] | None:
    """The serde the user named, or the one that was known."""
    return otherwise if kind is None else serde_of(kind)


def returned(function: Callable[..., Any]) -> Serde[Any] | None:
    """The serde of what a function gives back, by its annotation; None if it has none (a lambda)."""
    if isinstance(function, type):
        return of_hint(function)
    try:
        hint = typing.get_type_hints(function).get("return")
    except (NameError, TypeError):
        return None
    return of_hint(hint)


def returned_item(function: Callable[..., Any], *, pair: int | None = None) -> Serde[Any] | None:
    """The serde of one item of what a function gives back (`list[Order]`), or of one side of a pair it gives back."""
    try:
        hint = typing.get_type_hints(function).get("return")
    except (NameError, TypeError):
        return None
    if pair is None or typing.get_origin(hint) is not tuple:
        arguments = typing.get_args(hint)
        hint = arguments[0] if arguments else None
    if pair is not None and hint is not None:
        arguments = typing.get_args(hint)
        hint = arguments[pair] if len(arguments) == 2 else None
    return of_hint(hint)


def _without_none(hint: Any) -> Any:
    arguments = [one for one in typing.get_args(hint) if one is not type(None)]
    is_union = typing.get_origin(hint) is typing.Union or type(hint).__name__ == "UnionType"
    return arguments[0] if is_union and len(arguments) == 1 else hint


def of_hint(hint: Any) -> Serde[Any] | None:
    """The serde of a type hint; None if it says too little."""
    hint = _without_none(_plain_type(hint))
    if hint in (None, type(None), Any, object, inspect.Parameter.empty) or isinstance(hint, TypeVar):
        return None
    try:
        return serde_of(hint)
    except (TopologyError, TypeError):
        return None
