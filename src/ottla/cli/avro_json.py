"""Plain JSON data to Avro, for `ottla topic produce --schema-of`: the inverse of what `topic consume --json` prints.

Bytes are base64 text, decimals text or numbers, dates and times ISO 8601 text (or the plain number Avro stores), a
union's value is written as the first branch it fits. Avro 1.12 specification, "Binary encoding".
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from ottla.errors import EncodeError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICKS_PER_SECOND = {"millis": 10**3, "micros": 10**6, "nanos": 10**9}

Schema = Any
Names = dict[str, dict[str, Any]]


def encode_json(value: Any, schema: Schema) -> bytes:
    """Encodes JSON data by an Avro schema (parsed JSON), without a wire header.

    Raises:
        EncodeError: The data does not fit; names the field.
    """
    names: Names = {}
    _collect(schema, "", names)
    return _encode(value, schema, "", "value", names)


def _collect(schema: Schema, namespace: str, names: Names) -> None:
    """Finds all named types, so that a name can be used before or after its definition is read."""
    if isinstance(schema, list):
        for branch in schema:
            _collect(branch, namespace, names)
    elif isinstance(schema, dict):
        kind = schema["type"]
        if kind in ("record", "error", "enum", "fixed"):
            full = _full_name(schema["name"], schema.get("namespace", namespace))
            names[full] = schema
            namespace = full.rpartition(".")[0]
            for field in schema.get("fields", ()):
                _collect(field["type"], namespace, names)
        elif kind == "array":
            _collect(schema["items"], namespace, names)
        elif kind == "map":
            _collect(schema["values"], namespace, names)
        elif not isinstance(kind, str):
            _collect(kind, namespace, names)


def _full_name(name: str, namespace: str | None) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _encode(value: Any, schema: Schema, namespace: str, path: str, names: Names) -> bytes:
    if isinstance(schema, list):
        return _union(value, schema, namespace, path, names)
    if isinstance(schema, str):
        if schema in _PRIMITIVES:
            return _PRIMITIVES[schema](value, path)
        full = _full_name(schema, namespace)
        named = names.get(full) or names.get(schema)
        if named is None:
            raise EncodeError(f"{path}: the schema names the type {schema!r} and does not define it")
        return _encode(value, named, full.rpartition(".")[0], path, names)
    kind = schema["type"]
    if kind in ("record", "error"):
        inner = _full_name(schema["name"], schema.get("namespace", namespace)).rpartition(".")[0]
        return _record(value, schema, inner, path, names)
    if kind == "array":
        _expect(value, list, "a list", path)
        items = [_encode(item, schema["items"], namespace, f"{path}[{at}]", names) for at, item in enumerate(value)]
        return (_long(len(items)) + b"".join(items) if items else b"") + b"\0"
    if kind == "map":
        _expect(value, dict, "an object", path)
        pairs = [
            _text(k, path) + _encode(v, schema["values"], namespace, f"{path}.{k}", names) for k, v in value.items()
        ]
        return (_long(len(pairs)) + b"".join(pairs) if pairs else b"") + b"\0"
    if kind == "enum":
        if value not in schema["symbols"]:
            raise _misfit(value, f"one of {', '.join(schema['symbols'])}", path)
        return _long(schema["symbols"].index(value))
    value = _from_logical(value, schema, path)
    if kind == "fixed":
        data = _raw(value, path)
        if len(data) != schema["size"]:
            raise _misfit(value, f"{schema['size']} bytes in base64", path)
        return data
    return _encode(value, kind, namespace, path, names)


def _record(value: Any, schema: dict[str, Any], namespace: str, path: str, names: Names) -> bytes:
    _expect(value, dict, f"an object with the fields of {schema['name']}", path)
    fields = schema["fields"]
    unknown = sorted(set(value) - {field["name"] for field in fields})
    if unknown:
        raise EncodeError(f"{path}: {schema['name']} has no field {', '.join(unknown)}")
    encoded = []
    for field in fields:
        if field["name"] in value:
            given = value[field["name"]]
        elif "default" in field:
            given = field["default"]
        else:
            raise EncodeError(f"{path}: the field {field['name']!r} of {schema['name']} is missing")
        encoded.append(_encode(given, field["type"], namespace, f"{path}.{field['name']}", names))
    return b"".join(encoded)


def _union(value: Any, branches: list[Schema], namespace: str, path: str, names: Names) -> bytes:
    reasons = []
    for at, branch in enumerate(branches):
        try:
            return _long(at) + _encode(value, branch, namespace, path, names)
        except EncodeError as error:
            reasons.append(str(error))
    raise EncodeError(f"{path}: {value!r} fits no branch of the union: " + "; ".join(reasons))


def _from_logical(value: Any, schema: dict[str, Any], path: str) -> Any:
    """Turns the text form of a logical type into what Avro stores; anything else passes unchanged."""
    logical = schema.get("logicalType", "")
    try:
        if logical == "decimal":
            return _decimal(value, schema)
        if not isinstance(value, str):
            return value
        if logical == "date":
            return (date.fromisoformat(value) - EPOCH.date()).days
        kind, _, unit = logical.rpartition("-")
        if unit in TICKS_PER_SECOND and kind in ("timestamp", "local-timestamp"):
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None or kind != "timestamp" else moment
            return _ticks(moment - EPOCH, unit)
        if unit in TICKS_PER_SECOND and kind == "time":
            at = time.fromisoformat(value)
            midnight = datetime.combine(date.min, time())
            return _ticks(datetime.combine(date.min, at.replace(tzinfo=None)) - midnight, unit)
    except (ValueError, InvalidOperation):
        raise _misfit(value, f"a {logical}", path) from None
    return value


def _ticks(span: timedelta, unit: str) -> int:
    microseconds = (span.days * 86_400 + span.seconds) * 10**6 + span.microseconds
    return microseconds * TICKS_PER_SECOND[unit] // 10**6


def _decimal(value: Any, schema: dict[str, Any]) -> bytes:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    number = Decimal(str(value)).scaleb(schema.get("scale", 0))
    if number != number.to_integral_value():
        raise ValueError
    unscaled = int(number)
    size = schema.get("size") or (unscaled if unscaled >= 0 else ~unscaled).bit_length() // 8 + 1
    return unscaled.to_bytes(size, "big", signed=True)


def _raw(value: Any, path: str) -> bytes:
    if isinstance(value, bytes):
        return value
    _expect(value, str, "base64 text", path)
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise _misfit(value, "base64 text", path) from None


def _long(number: int) -> bytes:
    """Zigzag, seven bits to a byte, least significant first."""
    left = (number << 1) ^ (number >> 63)
    encoded = bytearray()
    while left > 0x7F:
        encoded.append(left & 0x7F | 0x80)
        left >>= 7
    encoded.append(left)
    return bytes(encoded)


def _null(value: Any, path: str) -> bytes:
    if value is not None:
        raise _misfit(value, "null", path)
    return b""


def _boolean(value: Any, path: str) -> bytes:
    _expect(value, bool, "true or false", path)
    return b"\1" if value else b"\0"


def _integer(bits: int) -> Callable[[Any, str], bytes]:
    def encode(value: Any, path: str) -> bytes:
        if isinstance(value, bool) or not isinstance(value, int) or not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            raise _misfit(value, f"a whole number of {bits} bits", path)
        return _long(value)

    return encode


def _floating(layout: str) -> Callable[[Any, str], bytes]:
    def encode(value: Any, path: str) -> bytes:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _misfit(value, "a number", path)
        try:
            return struct.pack(layout, value)
        except OverflowError:
            raise _misfit(value, "a number in range", path) from None

    return encode


def _text(value: Any, path: str) -> bytes:
    _expect(value, str, "text", path)
    data = cast(str, value).encode()
    return _long(len(data)) + data


def _bytes(value: Any, path: str) -> bytes:
    data = _raw(value, path)
    return _long(len(data)) + data


def _expect(value: Any, kind: type, wanted: str, path: str) -> None:
    if not isinstance(value, kind):
        raise _misfit(value, wanted, path)


def _misfit(value: Any, wanted: str, path: str) -> EncodeError:
    return EncodeError(f"{path}: expected {wanted}, got {value!r}")


_PRIMITIVES: dict[str, Callable[[Any, str], bytes]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _integer(32),
    "long": _integer(64),
    "float": _floating("<f"),
    "double": _floating("<d"),
    "bytes": _bytes,
    "string": _text,
}
