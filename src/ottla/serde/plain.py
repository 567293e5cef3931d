"""Between events and plain data (dicts, lists, text, numbers), as JSON has it.

Sources of the forms: RFC 3339 for instants, days and times of day; ISO 8601 for spans of time; RFC 4648 for bytes (in
base64). A Decimal is a string: no reader may take it for a binary fraction.
"""

from __future__ import annotations

import base64
import binascii
import math
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from ottla.errors import EventDefinitionError
from ottla.events.shapes import (
    Array,
    DecimalNumber,
    Enumeration,
    Logical,
    Map,
    Record,
    RecordField,
    Scalar,
    Shape,
    Union,
)

TAG = "@type"
"""The property that tells records apart where a field may hold several."""

DEPTH_MAX = 100

Writer = Callable[[Any], Any]
Reader = Callable[[Any], Any]

_SCALARS: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "long": (int,),
    "double": (float, int),
    "string": (str,),
    "bytes": (bytes, bytearray, memoryview),
}
_LOGICAL: dict[str, type] = {
    "datetime": datetime,
    "date": date,
    "time": time,
    "timedelta": timedelta,
    "uuid": uuid.UUID,
}


class Misfit(Exception):
    """A value is not of its field's type. The path grows while the error travels outwards."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.path: list[str] = []
        super().__init__(reason)

    def __str__(self) -> str:
        return f"{'.'.join(reversed(self.path))}: {self.reason}" if self.path else self.reason


def is_of(shape: Shape, value: Any) -> bool:
    """Whether a Python value belongs to a branch of a union."""
    match shape:
        case Scalar(kind="null"):
            return value is None
        case Scalar(kind=kind):
            if shape.size is not None and not (isinstance(value, bytes | bytearray) and len(value) == shape.size):
                return False
            return isinstance(value, _SCALARS[kind]) and (kind == "boolean" or not isinstance(value, bool))
        case Logical(kind="date"):
            return isinstance(value, date) and not isinstance(value, datetime)
        case Logical(kind=kind):
            return isinstance(value, _LOGICAL[kind])
        case DecimalNumber():
            return isinstance(value, Decimal)
        case Enumeration(values=values):
            return any(value is one or (value.__class__ is one.__class__ and value == one) for one in values)
        case Array():
            return isinstance(value, list | tuple | set | frozenset)
        case Map():
            return isinstance(value, dict)
        case Record(cls=cls):
            return isinstance(value, cls)
        case Union(branches=branches):
            return any(is_of(branch, value) for branch in branches)


def records_in(shape: Shape, found: dict[int, Record] | None = None) -> dict[int, Record]:
    """Every record within a shape, by its `id`."""
    found = {} if found is None else found
    match shape:
        case Record() if id(shape) not in found:
            found[id(shape)] = shape
            for field in shape.fields:
                records_in(field.shape, found)
        case Array(item=inner) | Map(value=inner):
            records_in(inner, found)
        case Union(branches=branches):
            for branch in branches:
                records_in(branch, found)
    return found


def tagged_records(root: Record) -> set[int]:
    """The records that share a union with another record, by their `id`: they carry their name."""
    tagged: set[int] = set()

    def look(shape: Shape) -> None:
        match shape:
            case Array(item=inner) | Map(value=inner):
                look(inner)
            case Union(branches=branches):
                records = [branch for branch in branches if isinstance(branch, Record)]
                tagged.update(id(record) for record in records if len(records) > 1)
                for branch in branches:
                    if not isinstance(branch, Record):
                        look(branch)

    for record in records_in(root).values():
        for field in record.fields:
            look(field.shape)
    return tagged


class PlainCodec:
    """Writers and readers of one class, built from its shape once.

    Args:
        root: The class's shape.
    """

    def __init__(self, root: Record) -> None:
        self._tagged = tagged_records(root)
        self._writers: dict[int, Writer] = {}
        self._readers: dict[int, Reader] = {}
        self.write = self._writer(root)
        self.read = self._reader(root)

    # ------------------------------------------------------------------ writing

    def _writer(self, shape: Shape) -> Writer:
        match shape:
            case Record():
                return self._record_writer(shape)
            case Array(item=item, build=build):
                return _array_writer(self._writer(item), build in (set, frozenset))
            case Map(value=inner):
                return _map_writer(self._writer(inner))
            case Union(branches=branches):
                writers = [(branch, self._branch_writer(branch)) for branch in branches]
                return lambda value: _union_written(writers, value)
            case Enumeration():
                symbols = dict(zip(shape.values, shape.symbols, strict=True))
                return lambda value: _symbol(symbols, shape, value)
            case _:
                return _atom_writer(shape)

    def _branch_writer(self, branch: Shape) -> Writer:
        write = self._writer(branch)
        if isinstance(branch, Record) and id(branch) in self._tagged:
            name = branch.full_name
            return lambda value: {TAG: name, **write(value)}
        return write

    def _record_writer(self, record: Record) -> Writer:
        known = self._writers.get(id(record))
        if known is not None:
            return known
        fields: list[tuple[str, str, Writer]] = []

        def write(value: Any) -> dict[str, Any]:
            if not isinstance(value, record.cls):
                raise Misfit(f"{_told(value)} is no {record.cls.__qualname__}")
            written = {}
            for name, attribute, writer in fields:
                try:
                    written[name] = writer(getattr(value, attribute))
                except Misfit as misfit:
                    misfit.path.append(name)
                    raise
            return written

        self._writers[id(record)] = write
        fields += [(field.name, field.attribute, self._writer(field.shape)) for field in record.fields]
        return write

    def default(self, field: RecordField) -> Any:
        """A field's default as plain data.

        Raises:
            EventDefinitionError: It does not fit the field.
        """
        try:
            return msgspec.to_builtins(self._writer(field.shape)(field.default))
        except Misfit as misfit:
            raise EventDefinitionError(
                f"{field.attribute}: the default {field.default!r} does not fit: {misfit}"
            ) from None

    # ------------------------------------------------------------------ reading

    def _reader(self, shape: Shape) -> Reader:
        match shape:
            case Record():
                return self._record_reader(shape)
            case Array(item=item, build=build):
                return _array_reader(self._reader(item), build)
            case Map(value=inner):
                return _map_reader(self._reader(inner))
            case Union():
                return self._union_reader(shape)
            case Enumeration():
                return _enum_reader(shape)
            case _:
                return _atom_reader(shape)

    def _record_reader(self, record: Record) -> Reader:
        known = self._readers.get(id(record))
        if known is not None:
            return known
        fields: list[tuple[RecordField, Reader]] = []

        def read(value: Any) -> Any:
            if not isinstance(value, dict):
                raise Misfit(f"{_told(value)} is no object")
            given = {}
            for field, reader in fields:
                name = next((name for name in (field.name, *field.aliases) if name in value), None)
                if name is None:
                    if not field.optional:
                        raise Misfit(f"property {field.name!r} is missing")
                    continue
                try:
                    given[field.init_name] = reader(value[name])
                except Misfit as misfit:
                    misfit.path.append(name)
                    raise
            return built(record, given)

        self._readers[id(record)] = read
        fields += [(field, self._reader(field.shape)) for field in record.fields]
        return read

    def _union_reader(self, union: Union) -> Reader:
        tagged = {
            branch.full_name: self._reader(branch)
            for branch in union.branches
            if isinstance(branch, Record) and id(branch) in self._tagged
        }
        others = [self._reader(b) for b in union.branches if not (isinstance(b, Record) and id(b) in self._tagged)]

        def read(value: Any) -> Any:
            if tagged and isinstance(value, dict) and value.get(TAG) in tagged:
                return tagged[value[TAG]](value)
            reasons = []
            for reader in others:
                try:
                    return reader(value)
                except Misfit as misfit:
                    reasons.append(str(misfit))
            told = "; ".join(dict.fromkeys(reasons)) or f"{TAG} must be one of {', '.join(tagged)}"
            raise Misfit(f"{_told(value)} fits none of its types: {told}")

        return read


def built(record: Record, given: dict[str, Any]) -> Any:
    """An instance of a record's class. Misfit: the class itself refuses the values."""
    try:
        return record.cls(**given)
    except (TypeError, ValueError) as error:
        raise Misfit(f"{record.cls.__qualname__} refuses the values: {error}") from error


def _union_written(writers: list[tuple[Shape, Writer]], value: Any) -> Any:
    for branch, write in writers:
        if is_of(branch, value):
            return write(value)
    raise Misfit(f"{_told(value)} is of none of the field's types")


def _array_writer(write: Writer, in_order: bool) -> Writer:
    def written(value: Any) -> list[Any]:
        if not isinstance(value, list | tuple | set | frozenset):
            raise Misfit(f"{_told(value)} is no list")
        items = []
        for index, item in enumerate(value):
            try:
                items.append(write(item))
            except Misfit as misfit:
                misfit.path.append(str(index))
                raise
        return sorted(items, key=repr) if in_order else items

    return written


def _map_writer(write: Writer) -> Writer:
    def written(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Misfit(f"{_told(value)} is no dict")
        found = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise Misfit(f"the key {key!r} is no string")
            try:
                found[key] = write(item)
            except Misfit as misfit:
                misfit.path.append(key)
                raise
        return found

    return written


def _symbol(symbols: dict[Any, str], shape: Enumeration, value: Any) -> str:
    try:
        found = symbols.get(value)
    except TypeError:
        found = None
    if found is None or not is_of(shape, value):
        raise Misfit(f"{_told(value)} is none of {', '.join(shape.symbols)}")
    return found


def _atom_writer(shape: Shape) -> Writer:
    def written(value: Any) -> Any:
        if not is_of(shape, value):
            raise Misfit(f"{_told(value)} is no {kind_of(shape)}")
        if isinstance(shape, Scalar) and shape.allowed is not None and value not in shape.allowed:
            raise Misfit(f"{value!r} is none of {', '.join(map(repr, shape.allowed))}")
        return convert(value)

    convert = _CONVERT.get(shape.kind if isinstance(shape, Scalar | Logical) else "", lambda value: value)
    return str_of_decimal if isinstance(shape, DecimalNumber) else written


def str_of_decimal(value: Any) -> str:
    """A Decimal as text, never in exponent form. Misfit: it is none, or not finite."""
    if not isinstance(value, Decimal) or not value.is_finite():
        raise Misfit(f"{_told(value)} is no finite Decimal")
    if abs(value.adjusted()) > 1000:
        raise Misfit("a Decimal with more than 1000 digits")
    return format(value, "f")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise Misfit(f"{value} has no form in JSON")
    return float(value)


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise Misfit("a datetime without a zone: nobody could tell which instant it means")
    return value.astimezone(UTC)


def _naive(value: time) -> time:
    if value.tzinfo is not None:
        raise Misfit("only a time without a zone can be written")
    return value


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "double": _finite,
    "datetime": _aware,
    "time": _naive,
    "bytes": lambda value: base64.b64encode(bytes(value)).decode(),
}


def kind_of(shape: Shape) -> str:
    """A shape in a word or two."""
    match shape:
        case Scalar(kind=kind):
            return {"long": "int", "double": "float", "boolean": "bool"}.get(kind, kind)
        case Logical(kind=kind):
            return kind
        case DecimalNumber():
            return "Decimal"
        case Record(cls=cls):
            return cls.__qualname__
        case _:
            return type(shape).__name__.lower()


def _told(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


# ------------------------------------------------------------------ reading


def _array_reader(read: Reader, build: type) -> Reader:
    def items(value: Any) -> Any:
        if not isinstance(value, list):
            raise Misfit(f"{_told(value)} is no array")
        found = []
        for index, item in enumerate(value):
            try:
                found.append(read(item))
            except Misfit as misfit:
                misfit.path.append(str(index))
                raise
        return found if build is list else build(found)

    return items


def _map_reader(read: Reader) -> Reader:
    def items(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Misfit(f"{_told(value)} is no object")
        found = {}
        for key, item in value.items():
            try:
                found[key] = read(item)
            except Misfit as misfit:
                misfit.path.append(key)
                raise
        return found

    return items


def _enum_reader(shape: Enumeration) -> Reader:
    values = dict(zip(shape.symbols, shape.values, strict=True))
    default = values[shape.default] if shape.default is not None else None

    def read(value: Any) -> Any:
        if isinstance(value, str):
            if value in values:
                return values[value]
            if default is not None:
                return default
        raise Misfit(f"{_told(value)} is none of {', '.join(shape.symbols)}")

    return read


def _atom_reader(shape: Shape) -> Reader:
    match shape:
        case DecimalNumber():
            return decimal_of_text
        case Logical(kind=kind):
            python = _LOGICAL[kind]
            return lambda value: _logical(value, python, kind)
        case Scalar(kind="bytes", size=size):
            return _bytes if size is None else lambda value: _fixed(value, size)
        case Scalar(kind="double"):
            return _double
    assert isinstance(shape, Scalar)
    allowed = shape.allowed

    def read(value: Any) -> Any:
        if not is_of(shape, value) or (allowed is not None and value not in allowed):
            raise Misfit(
                f"{_told(value)} is no {kind_of(shape)}" if allowed is None else f"{_told(value)} is not allowed"
            )
        return value

    return read


def _double(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Misfit(f"{_told(value)} is no number")
    return float(value)


def decimal_of_text(value: Any) -> Decimal:
    if isinstance(value, str | int) and not isinstance(value, bool) and len(str(value)) <= 1100:
        try:
            found = Decimal(value)
        except InvalidOperation:
            pass
        else:
            if found.is_finite() and abs(found.adjusted()) <= 1000:
                return found
    raise Misfit(f"{_told(value)} is no decimal number in text")


def _bytes(value: Any) -> bytes:
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise Misfit(f"{_told(value)} is not base64")


def _fixed(value: Any, size: int) -> bytes:
    found = _bytes(value)
    if len(found) != size:
        raise Misfit(f"{len(found)} bytes instead of {size}")
    return found


def _logical(value: Any, python: type, kind: str) -> Any:
    if not isinstance(value, str):
        raise Misfit(f"{_told(value)} is no {kind} in text")
    try:
        found: Any = msgspec.convert(value, python)
    except msgspec.ValidationError as error:
        raise Misfit(f"{_told(value)} is no {kind}: {error}") from None
    if isinstance(found, datetime):
        if found.tzinfo is None:
            raise Misfit(f"{_told(value)} has no zone")
        return found.astimezone(UTC)
    return found
