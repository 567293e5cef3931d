"""Which conversion turns a writer's logical type into the Python value it stands for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ottla.serde.avro import conversions
from ottla.serde.avro.nodes import Primitive

Conversion = Callable[[Any], Any]

# The writer's logical type -> (the kind of Python value, the conversion).
_CONVERSIONS: dict[str, tuple[str, Conversion]] = {
    "timestamp-micros": ("datetime", conversions.datetime_of_micros),
    "timestamp-millis": ("datetime", conversions.datetime_of_millis),
    "timestamp-nanos": ("datetime", conversions.datetime_of_nanos),
    "local-timestamp-micros": ("local-datetime", conversions.local_datetime_of_micros),
    "local-timestamp-millis": ("local-datetime", conversions.local_datetime_of_millis),
    "local-timestamp-nanos": ("local-datetime", conversions.local_datetime_of_nanos),
    "date": ("date", conversions.date_of_days),
    "time-micros": ("time", conversions.time_of_micros),
    "time-millis": ("time", conversions.time_of_millis),
    "timedelta-micros": ("timedelta", conversions.timedelta_of_micros),
}


def conversion(node: Primitive) -> tuple[str, Conversion] | None:
    """The kind of Python value a logical type stands for, and the way to it; None for a plain primitive."""
    if node.logical == "uuid":
        return "uuid", conversions.uuid_of_text if node.kind == "string" else conversions.uuid_of_bytes
    if node.logical == "decimal":
        return "decimal", decimal_conversion(node.precision, node.scale)
    return _CONVERSIONS.get(node.logical or "")


@functools.cache
def decimal_conversion(precision: int, scale: int) -> Conversion:
    """The reader of decimals with so many digits."""
    read = conversions.decimal_reader(precision, scale)
    _DIGITS[read] = precision, scale
    return read


_DIGITS: dict[Any, tuple[int, int]] = {}


def decimal_digits(convert: Any) -> tuple[int, int] | None:
    """Precision and scale of a reader that `decimal_conversion` gave; None for any other conversion."""
    return _DIGITS.get(convert)


def own_conversion(kind: str, millis: bool = False) -> Conversion:
    """The conversion of Ottla's own form of a kind, for a writer that wrote the plain number or text."""
    if millis:
        return conversions.datetime_of_millis if kind == "datetime" else conversions.time_of_millis
    own: dict[str, Conversion] = {
        "datetime": conversions.datetime_of_micros,
        "date": conversions.date_of_days,
        "time": conversions.time_of_micros,
        "timedelta": conversions.timedelta_of_micros,
        "uuid": conversions.uuid_of_text,
    }
    return own[kind]
