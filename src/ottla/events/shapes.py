"""Shapes: what a Python type looks like on the wire. The schema and the codec are both made from them.

A shape knows the Python side (which class, which container) and enough of the Avro side (names, symbols, branch order)
that schema and codec cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ottla.events.annotations import Digits

ScalarKind = Literal["null", "boolean", "long", "double", "string", "bytes"]
LogicalKind = Literal["datetime", "date", "time", "timedelta", "uuid"]

# Python type of a logical kind -> (Avro type, logicalType). timedelta has no counterpart in Avro that can be negative
# and keeps microseconds (`duration` has neither), so it is a long under a name of its own, which readers that do not
# know it take as the plain number of microseconds.
LOGICAL_TYPES: dict[LogicalKind, tuple[str, str]] = {
    "datetime": ("long", "timestamp-micros"),
    "date": ("int", "date"),
    "time": ("long", "time-micros"),
    "timedelta": ("long", "timedelta-micros"),
    "uuid": ("string", "uuid"),
}


_MILLIS: dict[LogicalKind, tuple[str, str]] = {
    "datetime": ("long", "timestamp-millis"),
    "time": ("int", "time-millis"),
}


@dataclass(eq=False, slots=True)
class Scalar:
    """None, bool, int, float, str or bytes. `allowed` limits the values (a Literal that is no enum).

    Bytes of a fixed number (`size`) are a named type in Avro.
    """

    kind: ScalarKind
    allowed: tuple[Any, ...] | None = None
    size: int | None = None
    name: str = ""
    namespace: str = ""


@dataclass(eq=False, slots=True)
class Logical:
    """A type that Avro writes as another type with a note on its meaning. `millis`: in milliseconds, not micro."""

    kind: LogicalKind
    millis: bool = False


@dataclass(eq=False, slots=True)
class DecimalNumber:
    """A Decimal, written as its unscaled whole number in two's complement."""

    digits: Digits


@dataclass(eq=False, slots=True)
class Enumeration:
    """An Enum class, or a Literal of strings (then `cls` is None).

    `values[i]` is what Python holds for `symbols[i]`. `default` is the symbol a reader takes for one it does not know.
    """

    cls: type | None
    name: str
    namespace: str
    symbols: tuple[str, ...]
    values: tuple[Any, ...]
    default: str | None = None


@dataclass(eq=False, slots=True)
class Array:
    """A list, tuple, set or frozenset of one item shape; `build` is the class of a decoded value."""

    item: Shape
    build: type


@dataclass(eq=False, slots=True)
class Map:
    """A dict with string keys."""

    value: Shape


@dataclass(eq=False, slots=True)
class Union:
    """One of several shapes. The order of the branches is the order in the schema."""

    branches: tuple[Shape, ...]


@dataclass(eq=False, slots=True)
class RecordField:
    """A field of a record.

    Attributes:
        name: Its name in the schema.
        attribute: The attribute on an instance.
        init_name: The constructor's name for it.
        default: The same default for every instance, or MISSING.
        optional: Whether the constructor can do without it.
        keyword_only: Whether the constructor refuses it by position.
    """

    name: str
    attribute: str
    init_name: str
    shape: Shape
    default: Any
    optional: bool
    keyword_only: bool
    aliases: tuple[str, ...] = ()


@dataclass(eq=False, slots=True)
class Record:
    """A class with fields. The only shape that can contain itself: `recursive` says so."""

    cls: type
    name: str
    namespace: str
    fields: tuple[RecordField, ...] = field(default=())
    recursive: bool = False
    doc: str = ""

    @property
    def full_name(self) -> str:
        """Namespace and name."""
        return f"{self.namespace}.{self.name}" if self.namespace else self.name


Shape = Scalar | Logical | DecimalNumber | Enumeration | Array | Map | Union | Record


def logical_type(shape: Logical) -> tuple[str, str]:
    """The Avro type of a logical one, and its logicalType."""
    return _MILLIS[shape.kind] if shape.millis else LOGICAL_TYPES[shape.kind]


def avro_branch(shape: Shape) -> str:
    """What tells a union's branches apart in Avro: the type's name, or the full name of a named type."""
    match shape:
        case Scalar(size=int(), name=name, namespace=namespace):
            return f"{namespace}.{name}" if namespace else name
        case Scalar(kind=kind):
            return kind
        case Logical():
            return logical_type(shape)[0]
        case DecimalNumber():
            return "bytes"
        case Array():
            return "array"
        case Map():
            return "map"
        case Union():
            return "union"
        case Record(name=name, namespace=namespace) | Enumeration(name=name, namespace=namespace):
            return f"{namespace}.{name}" if namespace else name


def is_empty_on_the_wire(shape: Shape) -> bool:
    """Whether every value of a shape takes no byte at all: None, and a record of nothing but such fields."""
    if isinstance(shape, Record):
        return not shape.recursive and all(is_empty_on_the_wire(f.shape) for f in shape.fields)
    return isinstance(shape, Scalar) and shape.kind == "null"
