"""Why a value could not be written: a slow walk over it, taken only once generated code has failed."""

from __future__ import annotations

import decimal
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from ottla.errors import EncodeError
from ottla.events.shapes import Array, DecimalNumber, Enumeration, Logical, Map, Record, Scalar, Shape, Union
from ottla.serde.avro.branches import branch_picker
from ottla.serde.avro.checks import as_items, as_map
from ottla.serde.avro.conversions import decimal_writer
from ottla.serde.avro.faults import DEPTH_MAX

_LOGICAL_CLASSES: dict[str, type] = {
    "datetime": datetime,
    "date": date,
    "time": time,
    "timedelta": timedelta,
    "uuid": UUID,
}
_EXPECTED = {"boolean": "bool", "long": "int", "double": "float", "string": "str", "bytes": "bytes", "null": "None"}
_TEXT_MAX = 100


def encode_fault(shape: Record, error: Exception, value: Any) -> EncodeError:
    """The EncodeError that names the field at fault and what is wrong with it."""
    if isinstance(error, RecursionError):
        return EncodeError(
            f"cannot write {shape.full_name}: it is nested more than {DEPTH_MAX} deep, or contains itself"
        )
    try:
        found = _fault(shape, value, "")
    except Exception:
        # The value's own methods may fail in any way; the first error is still told.
        found = None
    if found is None:
        return EncodeError(f"cannot write {shape.full_name}: {type(error).__name__}: {error}")
    path, reason = found
    return EncodeError(f"cannot write {shape.full_name}{path}: {reason}")


def _fault(shape: Shape, value: Any, path: str) -> tuple[str, str] | None:
    match shape:
        case Record():
            return _record(shape, value, path)
        case Array():
            return _array(shape, value, path)
        case Map():
            return _map(shape, value, path)
        case Union():
            return _union(shape, value, path)
        case _:
            reason = _plain(shape, value)
            return (path, reason) if reason else None


def _record(shape: Record, value: Any, path: str) -> tuple[str, str] | None:
    for field in shape.fields:
        if not hasattr(value, field.attribute):
            return f"{path}.{field.attribute}", f"expected {shape.cls.__name__}, got {_got(value)}"
        found = _fault(field.shape, getattr(value, field.attribute), f"{path}.{field.attribute}")
        if found:
            return found
    return None


def _array(shape: Array, value: Any, path: str) -> tuple[str, str] | None:
    try:
        items = as_items(value)
    except TypeError:
        return path, f"expected {shape.build.__name__}, got {_got(value)}"
    for i, item in enumerate(items):
        found = _fault(shape.item, item, f"{path}[{i}]")
        if found:
            return found
    return None


def _map(shape: Map, value: Any, path: str) -> tuple[str, str] | None:
    try:
        entries = as_map(value)
    except TypeError:
        return path, f"expected dict, got {_got(value)}"
    for key, item in entries.items():
        if not isinstance(key, str):
            return path, f"expected str keys, got {_got(key)}"
        reason = _scalar(Scalar("string"), key)
        if reason:
            return path, f"key {_text(key)}: {reason}"
        found = _fault(shape.value, item, f"{path}[{_text(key)}]")
        if found:
            return found
    return None


def _union(shape: Union, value: Any, path: str) -> tuple[str, str] | None:
    others = [b for b in shape.branches if not (isinstance(b, Scalar) and b.kind == "null")]
    if value is not None and len(others) == 1:
        return _fault(others[0], value, path)
    try:
        index = branch_picker(shape)(value)
    except TypeError as error:
        return path, f"{error} (the value is {_text(value)})"
    return _fault(shape.branches[index], value, path)


def _plain(shape: Shape, value: Any) -> str | None:
    match shape:
        case Scalar():
            return _scalar(shape, value)
        case Logical(kind=kind):
            return _logical(kind, value)
        case DecimalNumber():
            return _decimal(shape, value)
        case Enumeration(cls=cls, values=values):
            if cls is None:
                return None if value in values else f"expected one of {list(values)}, got {_got(value)}"
            return None if any(value is v for v in values) else f"expected a {cls.__name__}, got {_got(value)}"
    return None


def _scalar(shape: Scalar, value: Any) -> str | None:
    if shape.allowed is not None and value not in shape.allowed:
        return f"expected one of {list(shape.allowed)}, got {_got(value)}"
    if shape.size is not None and isinstance(value, bytes | bytearray | memoryview):
        size = memoryview(value).nbytes
        return None if size == shape.size else f"expected {shape.size} bytes, got {size}"
    match shape.kind, value:
        case (
            ("null", None) | ("boolean", bool()) | ("double", float()) | ("bytes", bytes() | bytearray() | memoryview())
        ):
            return None
        case "long", int():
            return None if -(2**63) <= value < 2**63 else "expected an int of 64 bits, got a longer one"
        case "double", int():
            try:
                float(value)
            except OverflowError:
                return "expected a float, got an int beyond its range"
            return None
        case "string", str():
            try:
                value.encode()
            except UnicodeEncodeError:
                return f"the text has half a surrogate pair, which UTF-8 cannot write ({_text(value)})"
            return None
    return f"expected {_EXPECTED[shape.kind]}, got {_got(value)}"


def _logical(kind: str, value: Any) -> str | None:
    cls: Any = _LOGICAL_CLASSES[kind]
    if not isinstance(value, cls) or (kind == "date" and isinstance(value, datetime)):
        return f"expected {_LOGICAL_CLASSES[kind].__name__}, got {_got(value)}"
    if kind == "datetime" and value.utcoffset() is None:
        return (
            f"the datetime {value} is naive, so nobody else can tell which instant it means. Make it aware: "
            "datetime.now(UTC), or .replace(tzinfo=...)"
        )
    if kind == "time" and value.tzinfo is not None:
        return f"the time {value} has a zone, which Avro cannot keep. Use a datetime, or a time without one"
    if kind == "timedelta" and not -(2**63) <= value // timedelta(microseconds=1) < 2**63:
        return "the timedelta does not fit into 64 bits of microseconds (292,000 years)"
    return None


def _decimal(shape: DecimalNumber, value: Any) -> str | None:
    precision, scale = shape.digits.precision, shape.digits.scale
    if not isinstance(value, Decimal | int):
        return f"expected Decimal, got {_got(value)}"
    if isinstance(value, Decimal) and not value.is_finite():
        return f"{value} is not a number that can be written"
    try:
        decimal_writer(precision, scale)(Decimal(value))
    except (decimal.DecimalException, ValueError, OverflowError):
        return (
            f"{_text(value)} does not fit decimal({precision}, {scale}): at most {precision - scale} digits before and "
            f"{scale} after the point. Round it, or annotate the field: Annotated[Decimal, Digits(precision, scale)]"
        )
    return None


def _got(value: Any) -> str:
    return f"{type(value).__name__} {_text(value)}"


def _text(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 3] + "..."
