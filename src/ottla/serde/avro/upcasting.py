"""Events of older versions: read without their class, taken through the upcasters, then made into the class."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from ottla.errors import DecodeError
from ottla.events.fields import is_pydantic
from ottla.events.shapes import Array, DecimalNumber, Enumeration, Logical, Map, Record, Scalar, Shape, Union
from ottla.events.upcasting import VERSION, Upcaster
from ottla.serde.avro.decoder import Decoder

_CLASSES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "long": (int,),
    "double": (float, int),
    "string": (str,),
    "bytes": (bytes,),
    "datetime": (datetime,),
    "date": (date,),
    "time": (time,),
    "timedelta": (timedelta,),
    "uuid": (uuid.UUID,),
}


def writer_version(schema: str) -> int:
    """Which version of its class a schema was derived from; 1 if it does not say."""
    parsed = json.loads(schema)
    version = parsed.get(VERSION, 1) if isinstance(parsed, dict) else 1
    return version if isinstance(version, int) else 1


def upcasting_decoder(read: Decoder, steps: Sequence[Upcaster], shape: Record) -> Decoder:
    """A decoder for what an older version wrote.

    Args:
        read: Reads it as dicts.
        steps: The upcasters, in order.
        shape: The class it becomes.
    """

    def decode(b: bytes, p: int) -> Any:
        old = read(b, p)
        for step in steps:
            try:
                old = step(old)
            except Exception as error:
                raise DecodeError(
                    f"cannot read {shape.full_name}: its upcaster {step.__name__} failed with "
                    f"{type(error).__name__}: {error}",
                    position=p,
                ) from error
        try:
            return _made(shape, old, shape.cls.__name__)
        except _Misfit as misfit:
            names = ", ".join(step.__name__ for step in steps)
            raise DecodeError(
                f"cannot read {shape.full_name}: what its upcasters ({names}) give does not fit the class: {misfit}",
                position=p,
            ) from None

    return decode


class _Misfit(Exception):
    """A value is not what its field needs."""


def _made(shape: Shape, value: Any, path: str) -> Any:
    match shape:
        case Record():
            return _record(shape, value, path)
        case Array(item=item, build=build):
            if not isinstance(value, list | tuple | set | frozenset):
                raise _misfit(shape, value, path)
            return build(_made(item, one, f"{path}[{i}]") for i, one in enumerate(value))
        case Map(value=inner):
            if not isinstance(value, dict):
                raise _misfit(shape, value, path)
            return {key: _made(inner, one, f"{path}[{key!r}]") for key, one in value.items()}
        case Union(branches=branches):
            return _branch(branches, value, path)
        case Enumeration(symbols=symbols, values=values):
            if isinstance(value, str) and value in symbols:
                return values[symbols.index(value)]
            if any(value is one for one in values):
                return value
        case DecimalNumber():
            if isinstance(value, Decimal):
                return value
        case Scalar(kind=kind) | Logical(kind=kind):
            limited = isinstance(shape, Scalar) and shape.allowed is not None and value not in shape.allowed
            if type(value) in _CLASSES[kind] and not limited:
                return float(value) if kind == "double" else value
    raise _misfit(shape, value, path)


def _record(shape: Record, value: Any, path: str) -> Any:
    if isinstance(value, shape.cls):
        return value
    if not isinstance(value, dict):
        raise _misfit(shape, value, path)
    arguments = {}
    for field in shape.fields:
        name = next((n for n in (field.name, field.attribute, *field.aliases) if n in value), None)
        if name is not None:
            arguments[field.init_name] = _made(field.shape, value[name], f"{path}.{field.attribute}")
        elif not field.optional:
            raise _Misfit(f"{path}.{field.attribute} is missing and has no default")
    cls: Any = shape.cls
    try:
        return cls.__pydantic_validator__.validate_python(arguments) if is_pydantic(cls) else cls(**arguments)
    except Exception as error:
        raise _Misfit(f"{path}: {type(error).__name__}: {error}") from error


def _branch(branches: Sequence[Shape], value: Any, path: str) -> Any:
    """The first branch that takes the value as it is."""
    reasons = []
    for branch in branches:
        try:
            return _made(branch, value, path)
        except _Misfit as misfit:
            reasons.append(str(misfit))
    raise _Misfit("; ".join(reasons))


def _misfit(shape: Shape, value: Any, path: str) -> _Misfit:
    return _Misfit(f"{path} cannot be {value!r:.100} ({type(value).__name__})")
