"""Avro schemas as objects, their names resolved. `avro_parser` makes them from text."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from .schema_error import InvalidSchema

__all__ = [
    "PRIMITIVES",
    "Array",
    "AvroSchema",
    "Enum",
    "Field",
    "Fixed",
    "InvalidSchema",
    "Json",
    "Map",
    "Named",
    "Primitive",
    "Record",
    "Union",
    "decimal_of",
    "describe",
]

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

Json = Any  # whatever json.loads gives


@dataclass(eq=False, slots=True)
class Primitive:
    kind: str
    properties: dict[str, Json] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Array:
    items: AvroSchema
    properties: dict[str, Json] = field(default_factory=dict)
    kind: str = "array"


@dataclass(eq=False, slots=True)
class Map:
    values: AvroSchema
    properties: dict[str, Json] = field(default_factory=dict)
    kind: str = "map"


@dataclass(eq=False, slots=True)
class Union:
    branches: list[AvroSchema]
    kind: str = "union"


@dataclass(eq=False, slots=True)
class Named:
    """What records, enums and fixed types have in common. `name` is the full name, aliases are full names too."""

    name: str
    aliases: list[str] = field(default_factory=list)
    doc: str | None = None
    properties: dict[str, Json] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def simple_name(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(eq=False, slots=True)
class Enum(Named):
    symbols: list[str] = field(default_factory=list)
    default: str | None = None
    kind: str = "enum"


@dataclass(eq=False, slots=True)
class Fixed(Named):
    size: int = 0
    kind: str = "fixed"


@dataclass(eq=False, slots=True)
class Field:
    """One field. `default` means something only where `has_default`: null is a default too."""

    name: str
    schema: AvroSchema
    has_default: bool = False
    default: Json = None
    doc: str | None = None
    order: str = "ascending"
    aliases: list[str] = field(default_factory=list)
    properties: dict[str, Json] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Record(Named):
    fields: list[Field] = field(default_factory=list)
    kind: str = "record"  # or "error"

    def field(self, name: str) -> Field | None:
        return next((f for f in self.fields if f.name == name), None)


AvroSchema = Primitive | Array | Map | Union | Enum | Fixed | Record


def describe(schema: AvroSchema) -> str:
    """A type in a few words: `string`, `array of Item`, `decimal(10, 2) on bytes`."""
    if isinstance(schema, Union):
        return f"union of {', '.join(describe(branch) for branch in schema.branches) or 'nothing'}"
    if isinstance(schema, Array):
        return f"array of {describe(schema.items)}"
    if isinstance(schema, Map):
        return f"map of {describe(schema.values)}"
    plain = f"{schema.kind} {schema.name}" if isinstance(schema, Named) else schema.kind
    precision_and_scale = decimal_of(schema)
    if precision_and_scale is not None:
        return f"decimal({precision_and_scale[0]}, {precision_and_scale[1]}) on {plain}"
    return plain


def decimal_of(schema: AvroSchema) -> tuple[int, int] | None:
    """Precision and scale if the schema is a valid decimal, else None: an invalid logical type is ignored by Avro."""
    if not isinstance(schema, Fixed | Primitive) or schema.kind not in ("bytes", "fixed"):
        return None
    if schema.properties.get("logicalType") != "decimal":
        return None
    precision, scale = schema.properties.get("precision"), schema.properties.get("scale", 0)
    if not isinstance(precision, int) or not isinstance(scale, int) or precision <= 0 or not 0 <= scale <= precision:
        return None
    if isinstance(schema, Fixed) and precision > int((8 * schema.size - 1) * math.log10(2)):
        return None  # so many digits do not fit into so many bytes
    return precision, scale
