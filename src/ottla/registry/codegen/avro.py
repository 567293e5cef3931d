"""From an Avro schema."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from ...serde.registry import Registered
from ..avro_parser import parse
from ..avro_schema import Array, AvroSchema, Enum, Fixed, Map, Primitive, Record, Union, decimal_of
from ..schema_error import InvalidSchema
from .model import Class, EnumClass, Field, Module, member_name, python_name

_PRIMITIVES = {
    "null": "None", "boolean": "bool", "int": "int", "long": "int", "float": "float", "double": "float",
    "bytes": "bytes", "string": "str",
}  # fmt: skip
_LOGICAL = {
    ("int", "date"): "date",
    ("int", "time-millis"): "time",
    ("long", "time-micros"): "time",
    ("long", "timestamp-millis"): "datetime",
    ("long", "timestamp-micros"): "datetime",
    ("long", "timestamp-nanos"): "datetime",
    ("long", "timedelta-micros"): "timedelta",
    ("string", "uuid"): "UUID",
}


def module_of_avro(schema: Registered) -> Module:
    """Classes for a record and everything in it."""
    parsed = parse(schema.text, validate_defaults=False)
    if not isinstance(parsed, Record):
        raise InvalidSchema("the schema is no record, so there is no class to write")
    module = Module("avro", main="", full_name=parsed.name)
    _Walk(module).record(parsed)
    module.main = module.class_name(parsed.name)
    return module


class _Walk:
    def __init__(self, module: Module) -> None:
        self.module = module
        self.seen: set[str] = set()

    def record(self, record: Record) -> str:
        name = self.module.class_name(record.name)
        if record.name not in self.seen:
            self.seen.add(record.name)
            made = Class(name, record.name, doc=record.doc)
            for one in record.fields:
                default = self.default(one.default, one.schema) if one.has_default else None
                made.fields.append(Field(python_name(one.name), one.name, self.type(one.schema), default, one.doc))
            self.module.declarations.append(made)  # behind what it contains
        return name

    def type(self, schema: AvroSchema) -> str:
        digits = decimal_of(schema)
        if digits is not None:
            return f"Annotated[Decimal, Digits({digits[0]}, {digits[1]})]"
        match schema:
            case Primitive(kind=kind, properties=properties):
                return _LOGICAL.get((kind, properties.get("logicalType", "")), _PRIMITIVES[kind])
            case Array(items=items):
                return f"list[{self.type(items)}]"
            case Map(values=values):
                return f"dict[str, {self.type(values)}]"
            case Union(branches=branches):
                types = list(dict.fromkeys(self.type(branch) for branch in branches))
                return " | ".join([one for one in types if one != "None"] + ["None"] * ("None" in types))
            case Enum():
                return self.enum(schema)
            case Fixed():
                return "bytes"
            case Record():
                return self.record(schema)

    def enum(self, enum: Enum) -> str:
        name = self.module.class_name(enum.name)
        if enum.name not in self.seen:
            self.seen.add(enum.name)
            members = [(member_name(symbol), json.dumps(symbol)) for symbol in enum.symbols]
            default = None if enum.default is None else json.dumps(enum.default)
            self.module.declarations.append(EnumClass(name, members, enum.doc, default))
        return name

    def default(self, value: Any, schema: AvroSchema) -> str | None:
        """A default as Python text; None for one that no class can have."""
        if isinstance(schema, Union):
            # By the specification a default is of the first branch; newer ones allow any.
            return next((found for b in schema.branches if (found := self.default(value, b)) is not None), None)
        if decimal_of(schema) is not None and isinstance(value, str):
            scale = (decimal_of(schema) or (0, 0))[1]
            unscaled = int.from_bytes(value.encode("latin-1"), "big", signed=True)
            return f'Decimal("{Decimal(unscaled).scaleb(-scale)}")'
        match schema:
            case Primitive(kind=kind, properties=properties):
                if (kind, properties.get("logicalType", "")) in _LOGICAL:
                    return None
                fits = {
                    "null": value is None,
                    "boolean": isinstance(value, bool),
                    "string": isinstance(value, str),
                    "bytes": isinstance(value, str),
                }.get(kind, isinstance(value, int | float) and not isinstance(value, bool))
                if not fits:
                    return None
                if kind == "bytes":
                    return repr(value.encode("latin-1"))
                return repr(float(value)) if kind in ("float", "double") else _literal(value)
            case Array():
                return "[]" if value == [] else None
            case Map():
                return "{}" if value == {} else None
            case Enum(symbols=symbols):
                return f"{self.enum(schema)}.{member_name(value)}" if value in symbols else None
        return None


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
