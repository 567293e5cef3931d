"""Avro schemas as they come from a registry: JSON text parsed into nodes, names resolved.

Source: Avro 1.12 specification, "Schema Declaration" and "Names".
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
_KINDS: tuple[Kind, ...] = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


class SchemaError(Exception):
    """A text is not an Avro schema. The message says what is wrong."""


@dataclass(eq=False, slots=True)
class Primitive:
    """A primitive type, perhaps with a logical one on top; `size` is set for fixed (whose kind is then bytes)."""

    kind: Kind
    logical: str | None = None
    precision: int = 0
    scale: int = 0
    size: int | None = None
    name: str = ""


@dataclass(eq=False, slots=True)
class EnumNode:
    name: str
    symbols: tuple[str, ...]
    default: str | None = None


@dataclass(eq=False, slots=True)
class ArrayNode:
    items: Node


@dataclass(eq=False, slots=True)
class MapNode:
    values: Node


@dataclass(eq=False, slots=True)
class UnionNode:
    branches: tuple[Node, ...]


@dataclass(eq=False, slots=True)
class FieldNode:
    name: str
    type: Node


@dataclass(eq=False, slots=True)
class RecordNode:
    """A record; `recursive` if it contains itself."""

    name: str
    fields: tuple[FieldNode, ...] = field(default=())
    recursive: bool = False


Node = Primitive | EnumNode | ArrayNode | MapNode | UnionNode | RecordNode


def parse_schema(text: str) -> Node:
    """The node for a schema's JSON text.

    Raises:
        SchemaError: It is no JSON, or no Avro schema.
    """
    try:
        return _Parsing().node(json.loads(text), "")
    except RecursionError:
        raise SchemaError("it is nested too deeply") from None
    except ValueError as error:
        raise SchemaError(f"it is not JSON: {error}") from None


def branch_name(node: Node) -> str:
    """What tells a union's branches apart: the type, or the full name of a named type."""
    match node:
        case Primitive(size=None, kind=kind):
            return kind
        case Primitive(name=name) | EnumNode(name=name) | RecordNode(name=name):
            return name
        case ArrayNode():
            return "array"
        case MapNode():
            return "map"
        case UnionNode():
            return "union"


def node_is_empty(node: Node) -> bool:
    """Whether every value takes no byte."""
    if isinstance(node, RecordNode):
        return not node.recursive and all(node_is_empty(f.type) for f in node.fields)
    return isinstance(node, Primitive) and (node.kind == "null" or node.size == 0)


class _Parsing:
    def __init__(self) -> None:
        self._named: dict[str, Node] = {}
        self._open: list[Node] = []

    def node(self, schema: Any, namespace: str) -> Node:
        if isinstance(schema, str):
            return self._reference(schema, namespace)
        if isinstance(schema, list):
            branches = tuple(self.node(branch, namespace) for branch in schema)
            if any(isinstance(b, UnionNode) for b in branches):
                raise SchemaError("a union directly contains a union")
            return UnionNode(branches)
        if not isinstance(schema, dict):
            raise SchemaError(f"{schema!r:.100} is not a type")
        kind = schema.get("type")
        match kind:
            case "record" | "error":
                return self._record(schema, namespace)
            case "enum":
                return self._enum(schema, namespace)
            case "fixed":
                return self._fixed(schema, namespace)
            case "array":
                return ArrayNode(self.node(_member(schema, "items"), namespace))
            case "map":
                return MapNode(self.node(_member(schema, "values"), namespace))
            case dict() | list():
                return self.node(kind, namespace)
            case str() if kind in _KINDS:
                return _with_logical(Primitive(kind), schema)
            case str():
                return self._reference(kind, namespace)
        raise SchemaError(f"a type is missing in {json.dumps(schema)[:100]}")

    def _reference(self, name: str, namespace: str) -> Node:
        for kind in _KINDS:
            if name == kind:
                return Primitive(kind)
        found = self._named.get(_full_name(name, namespace)) or self._named.get(name)
        if found is None:
            raise SchemaError(f"the type {name!r} is not defined")
        if isinstance(found, RecordNode) and any(found is o for o in self._open):
            found.recursive = True
        return found

    def _define(self, schema: dict[str, Any], namespace: str) -> tuple[str, str]:
        name = schema.get("name")
        if not isinstance(name, str) or not name:
            raise SchemaError(f"a {schema['type']} has no name")
        own = schema.get("namespace")
        full_name = _full_name(name, own if isinstance(own, str) else namespace)
        if full_name in self._named:
            raise SchemaError(f"the name {full_name!r} is defined twice")
        return full_name, full_name.rpartition(".")[0]

    def _record(self, schema: dict[str, Any], namespace: str) -> Node:
        full_name, inner = self._define(schema, namespace)
        record = RecordNode(full_name)
        self._named[full_name] = record
        self._open.append(record)
        fields = _member(schema, "fields")
        if not isinstance(fields, list):
            raise SchemaError(f"record {full_name}: fields is not a list")
        parsed = []
        for entry in fields:
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                raise SchemaError(f"record {full_name}: a field has no name")
            parsed.append(FieldNode(entry["name"], self.node(_member(entry, "type"), inner)))
        if len({f.name for f in parsed}) != len(parsed):
            raise SchemaError(f"record {full_name}: two fields share a name")
        record.fields = tuple(parsed)
        self._open.pop()
        return record

    def _enum(self, schema: dict[str, Any], namespace: str) -> Node:
        full_name, _ = self._define(schema, namespace)
        symbols = _member(schema, "symbols")
        if not isinstance(symbols, list) or not all(isinstance(s, str) for s in symbols):
            raise SchemaError(f"enum {full_name}: symbols is not a list of strings")
        default = schema.get("default")
        node = EnumNode(full_name, tuple(symbols), default if isinstance(default, str) else None)
        self._named[full_name] = node
        return node

    def _fixed(self, schema: dict[str, Any], namespace: str) -> Node:
        full_name, _ = self._define(schema, namespace)
        size = _member(schema, "size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise SchemaError(f"fixed {full_name}: size is not a number of bytes")
        node = _with_logical(Primitive("bytes", size=size, name=full_name), schema)
        self._named[full_name] = node
        return node


def _member(schema: dict[str, Any], name: str) -> Any:
    try:
        return schema[name]
    except KeyError:
        raise SchemaError(f"{name} is missing in {json.dumps(schema)[:100]}") from None


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


# logical type -> what it may annotate. Where it does not belong it is ignored, as the specification demands.
_ANNOTATES: dict[str, tuple[str, ...]] = {
    "date": ("int",),
    "time-millis": ("int",),
    "time-micros": ("long",),
    "timestamp-millis": ("long",),
    "timestamp-micros": ("long",),
    "timestamp-nanos": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-micros": ("long",),
    "local-timestamp-nanos": ("long",),
    "timedelta-micros": ("long",),
    "uuid": ("string",),
    "decimal": ("bytes",),
}


def _with_logical(node: Primitive, schema: dict[str, Any]) -> Primitive:
    logical = schema.get("logicalType")
    if logical == "uuid" and node.size == 16:
        node.logical = "uuid"
    elif isinstance(logical, str) and node.kind in _ANNOTATES.get(logical, ()):
        if logical == "decimal":
            precision, scale = schema.get("precision"), schema.get("scale", 0)
            if not (isinstance(precision, int) and isinstance(scale, int) and 0 <= scale <= precision <= 10_000):
                return node
            if precision == 0:
                return node
            node.precision, node.scale = precision, scale
        node.logical = logical
    return node
