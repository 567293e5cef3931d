"""Defaults: from a Python value to the JSON that a schema holds, as Avro's specification writes each type."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from ottla.events.shapes import Array, DecimalNumber, Enumeration, Logical, Map, Record, Scalar, Shape, Union

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
_SCALAR_CLASSES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "long": (int,),
    "double": (float, int),
    "string": (str,),
    "bytes": (bytes,),
}


def fits(shape: Shape, value: Any) -> bool:
    """Whether a value belongs to a shape, so that it can be its default."""
    try:
        default_json(shape, value)
    except (TypeError, ValueError, ArithmeticError):
        return False
    return True


def default_json(shape: Shape, value: Any) -> Any:
    """The JSON form of a default.

    Raises:
        TypeError: The value is not of the shape's type.
        ValueError: It is, but cannot be written (a naive datetime, a Decimal with too many digits).
    """
    match shape:
        case Scalar():
            return _scalar(shape, value)
        case Logical(kind=kind, millis=millis):
            number = _logical(kind, value)
            return number // 1000 if millis else number
        case DecimalNumber():
            return _decimal(shape, value)
        case Enumeration():
            if type(value) is not (shape.cls or str):
                raise TypeError(value)
            return shape.symbols[shape.values.index(value)]
        case Array():
            if not isinstance(value, list | tuple | set | frozenset):
                raise TypeError(value)
            return [default_json(shape.item, item) for item in value]
        case Map():
            if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
                raise TypeError(value)
            return {k: default_json(shape.value, v) for k, v in value.items()}
        case Union():
            return default_json(shape.branches[0], value)
        case Record():
            if type(value) is not shape.cls:
                raise TypeError(value)
            return {f.name: default_json(f.shape, getattr(value, f.attribute)) for f in shape.fields}


def _scalar(shape: Scalar, value: Any) -> Any:
    cls = type(value)
    if cls not in _SCALAR_CLASSES[shape.kind] or (shape.allowed is not None and value not in shape.allowed):
        raise TypeError(value)
    if shape.size is not None and len(value) != shape.size:
        raise ValueError(value)
    if shape.kind == "long" and not -(2**63) <= value < 2**63:
        raise ValueError(value)
    if shape.kind == "double":
        if not math.isfinite(value):
            raise ValueError("JSON has no NaN and no infinity")
        return float(value)
    return value.decode("latin-1") if shape.kind == "bytes" else value


def _logical(kind: str, value: Any) -> Any:
    if kind == "datetime" and isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(value)
        return (value - _EPOCH) // _MICROSECOND
    if kind == "date" and isinstance(value, date) and not isinstance(value, datetime):
        return value.toordinal() - _EPOCH_DAY
    if kind == "time" and isinstance(value, time) and value.tzinfo is None:
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
    if kind == "timedelta" and isinstance(value, timedelta):
        return value // _MICROSECOND
    if kind == "uuid" and isinstance(value, UUID):
        return str(value)
    raise TypeError(value)


def _decimal(shape: DecimalNumber, value: Any) -> str:
    if not isinstance(value, Decimal):
        raise TypeError(value)
    numerator, denominator = value.as_integer_ratio()  # exact; refuses NaN and infinity
    unscaled, rest = divmod(numerator * 10**shape.digits.scale, denominator)
    if rest or abs(unscaled) >= 10**shape.digits.precision:
        raise ValueError(value)
    data: bytes = unscaled.to_bytes((unscaled.bit_length() + 8) // 8, "big", signed=True)
    return data.decode("latin-1")
