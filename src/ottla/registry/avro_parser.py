"""Reads the text of an Avro schema: parsed, checked, names resolved.

Source: the Avro specification 1.12, "Schema Declaration", "Names", "Default values".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from .avro_schema import (
    PRIMITIVES,
    Array,
    AvroSchema,
    Enum,
    Field,
    Fixed,
    InvalidSchema,
    Json,
    Map,
    Named,
    Primitive,
    Record,
    Union,
    describe,
)

DEPTH_MAX = 100
"""Types within types within types: more than this is not a schema but an attack."""


def parse(
    text: str,
    *,
    validate_defaults: bool = True,
    known: Mapping[str, Enum | Fixed | Record] | None = None,
    declare_into: dict[str, Any] | None = None,
) -> AvroSchema:
    """Parses and checks a schema's text.

    Args:
        text: JSON.
        validate_defaults: Refuse defaults that do not fit their field. Off for text that some registry already
            accepted: it is stored, and must stay readable.
        known: Named types from other schemas, by full name.
        declare_into: Gets the named types this schema declares, by full name.

    Raises:
        InvalidSchema: With the path within the schema and the reason.
    """
    try:
        loaded = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise InvalidSchema("the schema is nested too deeply") from None
    except ValueError as error:
        raise InvalidSchema(f"the schema is not JSON: {error}") from None
    try:
        parser = _Parser(validate_defaults, known or {})
        schema = parser.schema(loaded, "", "")
        if declare_into is not None:
            declare_into.update(parser.names)
        return schema
    except RecursionError:
        raise InvalidSchema("the schema is nested too deeply") from None


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMED_ATTRIBUTES = {"type", "name", "namespace", "doc", "aliases"}
_FIELD_ATTRIBUTES = {"name", "type", "doc", "default", "order", "aliases"}
_Named = TypeVar("_Named", Enum, Fixed, Record)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _is_int(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class _Parser:
    """One parse. `names` fills as named types are met: a type must be declared before it is used."""

    def __init__(self, validate_defaults: bool, known: Mapping[str, Enum | Fixed | Record]) -> None:
        self.names: dict[str, Enum | Fixed | Record] = dict(known)
        self.validate_defaults = validate_defaults
        self.depth = 0

    def schema(self, node: Json, namespace: str, path: str) -> AvroSchema:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise self.fault(path, f"types are nested more than {DEPTH_MAX} deep")
        parsed = self.type(node, namespace, path)
        self.depth -= 1
        return parsed

    def type(self, node: Json, namespace: str, path: str) -> AvroSchema:
        if isinstance(node, str):
            return self.reference(node, namespace, path)
        if isinstance(node, list):
            return self.union(node, namespace, path)
        if not isinstance(node, dict):
            raise self.fault(path, f"a type must be a name, an object or an array, not {json.dumps(node)}")
        kind = node.get("type")
        if isinstance(kind, dict | list):  # {"type": {"type": "string"}}: the inner one is meant
            return self.schema(kind, namespace, path)
        if not isinstance(kind, str):
            raise self.fault(path, 'an object without a "type"')
        if kind in PRIMITIVES:
            return Primitive(kind, _rest(node, {"type"}))
        match kind:
            case "record" | "error":
                return self.record(node, kind, namespace, path)
            case "enum":
                return self.enum(node, namespace, path)
            case "fixed":
                return self.fixed(node, namespace, path)
            case "array":
                items = self.schema(self.required(node, "items", path), namespace, f"{path}/items")
                return Array(items, _rest(node, {"type", "items"}))
            case "map":
                values = self.schema(self.required(node, "values", path), namespace, f"{path}/values")
                return Map(values, _rest(node, {"type", "values"}))
        return self.reference(kind, namespace, path)

    def reference(self, name: str, namespace: str, path: str) -> AvroSchema:
        if name in PRIMITIVES:
            return Primitive(name)
        found = self.names.get(_full_name(name, namespace)) or self.names.get(name)
        if found is None:
            known = ", ".join(sorted(self.names)) or "none"
            raise self.fault(path, f"unknown type {name!r}; types declared before this place: {known}")
        return found

    def union(self, nodes: list[Json], namespace: str, path: str) -> Union:
        branches: list[AvroSchema] = []
        seen = set()
        for index, node in enumerate(nodes):
            branch = self.schema(node, namespace, f"{path}/{index}")
            if isinstance(branch, Union):
                raise self.fault(f"{path}/{index}", "a union directly inside a union")
            identity = branch.name if isinstance(branch, Named) else branch.kind
            if identity in seen:
                raise self.fault(f"{path}/{index}", f"{identity} occurs twice in one union")
            seen.add(identity)
            branches.append(branch)
        return Union(branches)

    def record(self, node: dict[str, Json], kind: str, namespace: str, path: str) -> Record:
        record = Record(**self.named(node, namespace, path), kind=kind)
        record.properties = _rest(node, _NAMED_ATTRIBUTES | {"fields"})
        self.declare(record, path)  # before its fields: they may refer to it
        fields = self.required(node, "fields", path)
        if not isinstance(fields, list):
            raise self.fault(path, '"fields" of a record must be an array')
        for index, item in enumerate(fields):
            parsed = self.field(item, record.namespace, f"{path}/fields/{index}")
            if record.field(parsed.name) is not None:
                raise self.fault(f"{path}/fields/{index}", f"record {record.name} has two fields {parsed.name!r}")
            record.fields.append(parsed)
        return record

    def field(self, node: Json, namespace: str, path: str) -> Field:
        if not isinstance(node, dict):
            raise self.fault(path, "a field must be an object")
        name = self.required(node, "name", path)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise self.fault(path, f"{name!r} is not a field name (letters, digits and _, not beginning with a digit)")
        schema = self.schema(self.required(node, "type", path), namespace, f"{path}/type")
        order = node.get("order", "ascending")
        if order not in ("ascending", "descending", "ignore"):
            raise self.fault(path, f"order {order!r} is none of ascending, descending, ignore")
        parsed = Field(
            name=name,
            schema=schema,
            has_default="default" in node,
            default=node.get("default"),
            doc=_text(node.get("doc")),
            order=order,
            aliases=self.strings(node, "aliases", path),
            properties=_rest(node, _FIELD_ATTRIBUTES),
        )
        if self.validate_defaults and parsed.has_default and not fits(parsed.default, schema):
            raise self.fault(
                path, f"field {name!r}: the default {json.dumps(parsed.default)} is not a value of {describe(schema)}"
            )
        return parsed

    def enum(self, node: dict[str, Json], namespace: str, path: str) -> Enum:
        symbols = self.strings(node, "symbols", path, required=True)
        for symbol in symbols:
            if not _NAME.fullmatch(symbol):
                raise self.fault(path, f"{symbol!r} is not an enum symbol (letters, digits and _, no leading digit)")
        if len(set(symbols)) != len(symbols):
            raise self.fault(path, "an enum with the same symbol twice")
        default = node.get("default")
        if default is not None and default not in symbols:
            raise self.fault(path, f"the enum's default {json.dumps(default)} is none of its symbols")
        enum = Enum(**self.named(node, namespace, path), symbols=symbols, default=default)
        enum.properties = _rest(node, _NAMED_ATTRIBUTES | {"symbols", "default"})
        return self.declare(enum, path)

    def fixed(self, node: dict[str, Json], namespace: str, path: str) -> Fixed:
        size = self.required(node, "size", path)
        if not _is_int(size) or size < 0:
            raise self.fault(path, f'"size" of a fixed type must be a whole number from 0 up, not {json.dumps(size)}')
        fixed = Fixed(**self.named(node, namespace, path), size=size)
        fixed.properties = _rest(node, _NAMED_ATTRIBUTES | {"size"})
        return self.declare(fixed, path)

    def named(self, node: dict[str, Json], namespace: str, path: str) -> dict[str, Any]:
        name = self.required(node, "name", path)
        if not isinstance(name, str):
            raise self.fault(path, f'"name" must be a string, not {json.dumps(name)}')
        own = node.get("namespace")
        full = _full_name(name, own if isinstance(own, str) else namespace)
        if not all(_NAME.fullmatch(part) for part in full.split(".")):
            raise self.fault(path, f"{full!r} is not a name (letters, digits and _, parts joined by dots)")
        if full in PRIMITIVES:
            raise self.fault(path, f"{full!r} is the name of a primitive type")
        space = full.rpartition(".")[0]
        aliases = [_full_name(alias, space) for alias in self.strings(node, "aliases", path)]
        return {"name": full, "aliases": aliases, "doc": _text(node.get("doc"))}

    def declare(self, named: _Named, path: str) -> _Named:
        if named.name in self.names:
            raise self.fault(path, f"{named.name} is declared twice; after its declaration refer to it by name")
        self.names[named.name] = named
        return named

    def required(self, node: dict[str, Json], attribute: str, path: str) -> Json:
        if attribute not in node:
            raise self.fault(path, f'"{attribute}" is missing')
        return node[attribute]

    def strings(self, node: dict[str, Json], attribute: str, path: str, *, required: bool = False) -> list[str]:
        found = self.required(node, attribute, path) if required else node.get(attribute) or []
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise self.fault(path, f'"{attribute}" must be an array of strings')
        return found

    def fault(self, path: str, reason: str) -> InvalidSchema:
        return InvalidSchema(f"at {path or '/'}: {reason}")


def _full_name(name: str, namespace: str) -> str:
    # A leading dot is Java's way of writing a name in the empty namespace.
    if "." in name:
        return name.lstrip(".")
    return f"{namespace}.{name}" if namespace else name


def _rest(node: dict[str, Json], known: set[str]) -> dict[str, Json]:
    return {name: value for name, value in node.items() if name not in known}


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def fits(value: Json, schema: AvroSchema) -> bool:
    """Whether a JSON default is a value of the schema. For a union any branch will do (specification 1.12)."""
    match schema:
        case Union():
            return any(fits(value, branch) for branch in schema.branches)
        case Array():
            return isinstance(value, list) and all(fits(item, schema.items) for item in value)
        case Map():
            return isinstance(value, dict) and all(fits(item, schema.values) for item in value.values())
        case Enum():
            return isinstance(value, str) and value in schema.symbols
        case Fixed():
            return _is_bytes(value) and len(value) == schema.size
        case Record():
            return isinstance(value, dict) and all(_fits_field(value, f) for f in schema.fields)
        case Primitive():
            return _fits_primitive(value, schema.kind)


def _fits_field(value: dict[str, Json], field: Field) -> bool:
    return fits(value[field.name], field.schema) if field.name in value else field.has_default


def _fits_primitive(value: Json, kind: str) -> bool:
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "int":
            return _is_int(value) and -(2**31) <= value < 2**31
        case "long":
            return _is_int(value) and -(2**63) <= value < 2**63
        case "float" | "double":
            return _is_int(value) or isinstance(value, float)
        case "bytes":
            return _is_bytes(value)
    return isinstance(value, str)


def _is_bytes(value: Json) -> bool:
    """Bytes are written as a string of the code points 0 to 255."""
    return isinstance(value, str) and all(ord(character) < 256 for character in value)
