"""From Python types to shapes: which type hints an event may use, and what to use instead of the others."""

from __future__ import annotations

import collections
import collections.abc as abc
import decimal
import enum
import functools
import inspect
import re
import types
import typing
import uuid
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal, NewType, TypeVar, get_args, get_origin

from ottla.errors import EventDefinitionError
from ottla.events.annotations import DEFAULT_DIGITS, Digits, Fixed, FormerNames, Millis
from ottla.events.declaration import Rename, declared_event
from ottla.events.defaults import fits
from ottla.events.fields import MISSING, ClassField, class_fields, is_record_class
from ottla.events.names import check_avro_name, is_avro_name
from ottla.events.shapes import (
    Array,
    DecimalNumber,
    Enumeration,
    Logical,
    LogicalKind,
    Map,
    Record,
    RecordField,
    Scalar,
    ScalarKind,
    Shape,
    Union,
    avro_branch,
    is_empty_on_the_wire,
)

_SCALARS: dict[Any, ScalarKind] = {
    type(None): "null",
    None: "null",
    bool: "boolean",
    int: "long",
    float: "double",
    str: "string",
    bytes: "bytes",
}
_LOGICAL: dict[Any, LogicalKind] = {
    datetime: "datetime",
    date: "date",
    time: "time",
    timedelta: "timedelta",
    uuid.UUID: "uuid",
}
_ARRAYS: dict[Any, type] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    abc.Set: frozenset,
    abc.MutableSet: set,
}
_MAPS = (dict, abc.Mapping, abc.MutableMapping)

_INSTEAD: dict[Any, str] = {
    Any: "name the type, or a union of types",
    object: "name the type, or a union of types",
    complex: "a class with two float fields",
    bytearray: "bytes",
    memoryview: "bytes",
    range: "a class with two int fields",
    collections.deque: "list",
    collections.OrderedDict: "dict",
    collections.defaultdict: "dict",
    collections.Counter: "dict[str, int]",
    list: "list with its item type, such as list[str]",
    tuple: "tuple with its item type, such as tuple[str, ...]",
    set: "set with its item type, such as set[str]",
    frozenset: "frozenset with its item type, such as frozenset[str]",
    dict: "dict with its value type, such as dict[str, int]",
}


def record_shape(cls: type) -> Record:
    """The shape of a class: an event, or any class with fields.

    Raises:
        EventDefinitionError: A field has a type no schema can be derived from; names class, field and type, and says
            what to use instead.
    """
    key: Any = cls
    return _derived(key)


@functools.lru_cache(maxsize=4096)
def _derived(cls: Any) -> Record:
    declared = declared_event(cls)
    namespace = declared.name.rpartition(".")[0] if declared else ""
    return _Derivation().record(cls, namespace)


class _Derivation:
    """One walk over a class and everything it contains."""

    def __init__(self) -> None:
        self._records: dict[type, Record] = {}
        self._open: list[Record] = []
        self._enums: dict[type, Enumeration] = {}
        self._owners: dict[str, object] = {}
        self._path: list[str] = []
        self._rename: Rename | None = None
        self._docs = False

    def record(self, cls: type, namespace: str) -> Record:
        known = self._records.get(cls)
        if known is not None:
            if known in self._open:
                known.recursive = True
            return known
        declared = declared_event(cls)
        name = cls.__name__
        if declared:
            own_namespace, _, name = declared.name.rpartition(".")
            namespace = own_namespace or namespace
        check_avro_name(name, f"class {cls.__qualname__}: name")
        shape = Record(cls, name, namespace)
        self._claim(shape.full_name, cls)
        self._records[cls] = shape
        self._open.append(shape)
        before = self._rename, self._docs
        if declared:
            self._rename, self._docs = declared.rename, declared.docs
        if self._docs:
            shape.doc = _doc(cls)
        shape.fields = tuple(self._field(shape, field) for field in class_fields(cls))
        self._rename, self._docs = before
        self._open.pop()
        self._check_names(shape)
        return shape

    def _claim(self, full_name: str, owner: object) -> None:
        if self._owners.setdefault(full_name, owner) is not owner:
            raise EventDefinitionError(
                f"Two different types are both called {full_name!r} within one event: {self._owners[full_name]!r} and "
                f"{owner!r}. Rename one, or give one a name of its own with @event(..., name=...)"
            )

    def _check_names(self, record: Record) -> None:
        seen: set[str] = set()
        for field in record.fields:
            for name in (field.name, *field.aliases):
                if name in seen:
                    raise EventDefinitionError(f"{record.cls.__qualname__}: two fields share the name {name!r}")
                seen.add(name)

    def _field(self, record: Record, field: ClassField) -> RecordField:
        where = f"{record.cls.__qualname__}.{field.name}"
        wire_name = field.wire_name
        if self._rename == "camel" and wire_name == field.name:
            wire_name = _camel(wire_name)
        check_avro_name(wire_name, f"{record.cls.__qualname__}: field")
        self._path.append(where)
        shape = self.shape(field.annotation, record, wire_name)
        self._path.pop()
        aliases: tuple[str, ...] = ()
        for extra in getattr(field.annotation, "__metadata__", ()):
            if isinstance(extra, FormerNames):
                aliases += extra.names
        if isinstance(shape, Union) and field.default is not MISSING:
            shape = _default_first(shape, field.default)
        return RecordField(
            name=wire_name,
            attribute=field.name,
            init_name=field.init_name,
            shape=shape,
            default=field.default,
            optional=field.optional,
            keyword_only=field.keyword_only,
            aliases=aliases,
        )

    def shape(self, hint: Any, record: Record, field_name: str, digits: Digits | None = None) -> Shape:
        extras = _extras(hint)
        hint, digits = _unwrap(hint, digits)
        if extras:
            annotated = self._annotated(hint, extras, record, field_name)
            if annotated is not None:
                return annotated
        if isinstance(hint, abc.Hashable):
            if hint in _SCALARS:
                return Scalar(_SCALARS[hint])
            if hint in _LOGICAL:
                return Logical(_LOGICAL[hint])
        if hint is decimal.Decimal:
            return DecimalNumber(digits or DEFAULT_DIGITS)
        origin = get_origin(hint)
        if origin in (typing.Union, types.UnionType):
            return self._union(hint, record, field_name, digits)
        if origin is Literal:
            return self._literal(get_args(hint), record, field_name)
        if origin in _ARRAYS:
            return self._array(hint, _ARRAYS[origin], record, field_name, digits)
        if origin in _MAPS:
            return self._map(hint, record, field_name, digits)
        if isinstance(hint, type):
            if issubclass(hint, enum.Enum):
                return self._enum(hint, record)
            if is_record_class(hint):
                return self.record(hint, record.namespace)
        raise self._refusal(hint)

    def _annotated(self, hint: Any, extras: tuple[Any, ...], record: Record, field_name: str) -> Shape | None:
        for extra in extras:
            if isinstance(extra, Fixed):
                if hint is not bytes:
                    raise self._refusal(hint, "bytes, where Fixed(...) is to say how many")
                name = _part_name(record, field_name)
                shape = Scalar("bytes", None, extra.size, name, record.namespace)
                self._claim(avro_branch(shape), (record.cls, field_name, extra.size))
                return shape
            if isinstance(extra, Millis):
                if hint not in (datetime, time):
                    raise self._refusal(hint, "a datetime or a time, where Millis() is to say the unit")
                return Logical(_LOGICAL[hint], millis=True)
        return None

    def _array(self, hint: Any, build: type, record: Record, field_name: str, digits: Digits | None) -> Shape:
        args = get_args(hint)
        if build is tuple:
            if len(args) != 2 or args[1] is not Ellipsis:
                raise self._refusal(hint, "a class with named fields, or tuple[X, ...] for any number of one type")
            args = args[:1]
        item = self.shape(args[0], record, field_name, digits)
        if is_empty_on_the_wire(item):
            raise self._refusal(hint, "an int that counts them: such items carry nothing and take no byte")
        return Array(item, build)

    def _map(self, hint: Any, record: Record, field_name: str, digits: Digits | None) -> Shape:
        key, value = get_args(hint)
        if _unwrap(key, None)[0] is not str:
            raise self._refusal(
                hint, "dict[str, ...]: Avro's map keys are strings. Or a list of a class with two fields"
            )
        return Map(self.shape(value, record, field_name, digits))

    def _union(self, hint: Any, record: Record, field_name: str, digits: Digits | None) -> Shape:
        branches: list[Shape] = []
        literals: list[Any] = []
        for arg in _flat_args(hint):
            if get_origin(arg) is Literal:
                literals.extend(get_args(arg))
            else:
                branches.append(self.shape(arg, record, field_name, digits))
        if literals:
            shape = self._literal(tuple(literals), record, field_name)
            branches.extend(shape.branches if isinstance(shape, Union) else (shape,))
        return self._checked_union(hint, branches)

    def _checked_union(self, hint: Any, branches: list[Shape]) -> Shape:
        nulls = [b for b in branches if isinstance(b, Scalar) and b.kind == "null"]
        branches = nulls[:1] + [b for b in branches if b not in nulls]
        if len(branches) == 1:
            return branches[0]
        seen: set[str] = set()
        for branch in branches:
            name = avro_branch(branch)
            if name in seen:
                raise self._refusal(
                    hint, f"types that differ in Avro (two of these are both {name!r}), or a class for each case"
                )
            seen.add(name)
        return Union(tuple(branches))

    def _literal(self, values: tuple[Any, ...], record: Record, field_name: str) -> Shape:
        plain = tuple(dict.fromkeys(v for v in values if v is not None))
        if plain and all(v.__class__ is str for v in plain):
            shape: Shape
            if all(is_avro_name(v) for v in plain):
                name = _part_name(record, field_name)
                shape = Enumeration(None, name, record.namespace, plain, plain)
                self._claim(avro_branch(shape), (record.cls, field_name, plain))
            else:
                shape = Scalar("string", plain)
        elif plain and all(v.__class__ is int for v in plain):
            shape = Scalar("long", plain)
        else:
            raise self._refusal(Literal[values], "a Literal of strings only (or of ints only)")
        return self._checked_union(Literal[values], [Scalar("null"), shape]) if None in values else shape

    def _enum(self, cls: type[enum.Enum], record: Record) -> Shape:
        known = self._enums.get(cls)
        if known is not None:
            return known
        if issubclass(cls, enum.Flag):
            raise self._refusal(cls, "an int, or set[...] of a plain Enum")
        members = tuple(cls)
        if not members:
            raise self._refusal(cls, "an Enum with members")
        values = tuple(m.value for m in members)
        by_value = all(isinstance(v, str) and is_avro_name(v) for v in values)
        symbols = tuple(str(v) for v in values) if by_value else tuple(m.name for m in members)
        for symbol in symbols:
            check_avro_name(symbol, f"enum {cls.__qualname__}: member")
        default = getattr(cls, "__ottla_default__", None)
        if default is not None:
            default = _default_symbol(cls, default, symbols)
        check_avro_name(cls.__name__, f"enum {cls.__qualname__}: name")
        shape = Enumeration(cls, cls.__name__, record.namespace, symbols, members, default)
        self._claim(avro_branch(shape), cls)
        self._enums[cls] = shape
        return shape

    def _refusal(self, hint: Any, instead: str | None = None) -> EventDefinitionError:
        where = self._path[-1] if self._path else "event"
        if instead is None and isinstance(hint, abc.Hashable):
            instead = _INSTEAD.get(hint)
        if instead is None:
            instead = _suggestion(hint)
        return EventDefinitionError(f"{where}: no schema can be derived from {_name(hint)}. Use instead: {instead}")


def _part_name(record: Record, field_name: str) -> str:
    """The name of a type that a field brings along."""
    return record.name + "".join(part[:1].upper() + part[1:] for part in re.split("_+", field_name))


def _camel(name: str) -> str:
    """`order_id` as `orderId`; underscores in front stay."""
    bare = name.lstrip("_")
    first, *rest = bare.split("_")
    return name[: len(name) - len(bare)] + first + "".join(part[:1].upper() + part[1:] for part in rest)


def _doc(cls: type) -> str:
    """A class's own docstring, unless it is the signature that dataclass writes there."""
    doc = cls.__dict__.get("__doc__")
    if not isinstance(doc, str) or doc.startswith(f"{cls.__name__}("):
        return ""
    return inspect.cleandoc(doc)


def _extras(hint: Any) -> tuple[Any, ...]:
    """What stands in a hint's Annotated, also behind an alias."""
    found: tuple[Any, ...] = ()
    while True:
        if get_origin(hint) is Annotated:
            found += hint.__metadata__
            hint = hint.__origin__
        elif isinstance(hint, NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType" and hasattr(hint, "__value__"):
            hint = hint.__value__
        else:
            return found


def _unwrap(hint: Any, digits: Digits | None) -> tuple[Any, Digits | None]:
    """Looks through Annotated, NewType, `type X = ...`, Required and the like."""
    while True:
        if get_origin(hint) is Annotated:
            digits = _digits(hint.__metadata__) or digits
            hint = hint.__origin__
        elif isinstance(hint, NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType" and hasattr(hint, "__value__"):
            hint = hint.__value__
        elif get_origin(hint) is typing.Final:
            (hint,) = get_args(hint)
        else:
            return hint, digits


def _digits(extras: tuple[Any, ...]) -> Digits | None:
    """`Digits(...)`, or pydantic's `Field(max_digits=, decimal_places=)`."""
    most = places = None
    nested = (inner for outer in extras for inner in getattr(outer, "metadata", ()))
    for extra in (*extras, *nested):
        if isinstance(extra, Digits):
            return extra
        most = getattr(extra, "max_digits", None) or most
        own_places = getattr(extra, "decimal_places", None)
        places = places if own_places is None else own_places
    if most is None and places is None:
        return None
    scale = min(DEFAULT_DIGITS.scale, most or DEFAULT_DIGITS.precision) if places is None else places
    return Digits(most or max(DEFAULT_DIGITS.precision, scale), scale)


def _flat_args(hint: Any) -> list[Any]:
    """The alternatives of a union, nested ones (hidden in an alias or Annotated) taken apart."""
    flat: list[Any] = []
    for arg in get_args(hint):
        inner = _unwrap(arg, None)[0]
        if get_origin(inner) in (typing.Union, types.UnionType):
            flat.extend(_flat_args(inner))
        elif get_origin(inner) is Literal:
            flat.append(inner)
        else:
            flat.append(arg)
    return flat


def _default_first(shape: Union, default: Any) -> Union:
    """Avro checks a field's default against the first branch of its union, so that branch comes first."""
    for branch in shape.branches:
        if fits(branch, default):
            return Union((branch, *(b for b in shape.branches if b is not branch)))
    return shape


def _default_symbol(cls: type[enum.Enum], default: Any, symbols: tuple[str, ...]) -> str:
    for member, symbol in zip(cls, symbols, strict=True):
        if default in (symbol, member.name):
            return symbol
    raise EventDefinitionError(
        f"enum {cls.__qualname__}: __ottla_default__ = {default!r} is none of its members ({', '.join(symbols)})"
    )


def _name(hint: Any) -> str:
    if isinstance(hint, type) and get_origin(hint) is None:
        return hint.__qualname__
    return str(hint).replace("typing.", "")


def _suggestion(hint: Any) -> str:
    if isinstance(hint, TypeVar):
        return "a concrete type: an event cannot have type parameters"
    origin = get_origin(hint)
    if isinstance(origin, type) and is_record_class(origin):
        return "a class without type parameters (derive one and fill them in)"
    if callable(hint) and isinstance(hint, type) and issubclass(hint, tuple):
        return "a dataclass or msgspec.Struct with the same fields"
    if typing.is_typeddict(hint):
        return "a dataclass or msgspec.Struct with the same fields"
    if isinstance(hint, type):
        return f"a dataclass, msgspec.Struct, pydantic model or attrs class in place of {hint.__name__}, or str"
    return (
        "str, int, float, bool, bytes, Decimal, datetime, date, time, timedelta, UUID, Enum, Literal, list, tuple, "
        "set, dict, a union of these, or a class with fields"
    )
