"""What kind of schema a node of a JSON Schema document is.

Confluent compares schemas as its validator library sees them, so this sees them in the same way: a node with `type` is
of that type; one with several types is "any of" them; one with keywords of several kinds is "all of" one schema per
kind; a node with keywords but without `type` is of the type the keywords belong to; `true` and `{}` are empty.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from typing import Literal

from ..schema_error import InvalidSchema
from .document import Document, Json

Kind = Literal[
    "empty", "false", "string", "number", "object", "array", "boolean", "null", "const", "enum", "combined", "not",
    "conditional",
]  # fmt: skip

_KEYWORDS: dict[Kind, frozenset[str]] = {
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "object": frozenset(
        {"properties", "required", "minProperties", "maxProperties", "dependencies", "dependentRequired",
         "dependentSchemas", "patternProperties", "additionalProperties", "propertyNames", "unevaluatedProperties"}
    ),
    "array": frozenset(
        {"items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains",
         "maxContains", "unevaluatedItems"}
    ),
}  # fmt: skip
_TYPES: dict[str, Kind] = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "object": "object",
    "array": "array",
    "boolean": "boolean",
    "null": "null",
}


@dataclass(eq=False)
class Schema:
    """One schema.

    Attributes:
        kind: What it is.
        node: The JSON it was made from; keywords of other kinds in it do not concern this schema.
        document: Where references in it lead.
        base: The base URI that holds in it.
        integer: For a number: whether it must be whole.
        criterion: For a combined one: allOf, anyOf or oneOf.
        part_nodes, own_parts: For a combined one: what is combined, as JSON or as schemas.
    """

    kind: Kind
    node: dict[str, Json]
    document: Document
    base: str
    integer: bool = False
    criterion: str = ""
    part_nodes: list[Json] = field(default_factory=list)
    own_parts: list[Schema] = field(default_factory=list)

    @functools.cached_property
    def parts(self) -> list[Schema]:
        """What is combined. Looked up when asked for: a schema may contain itself."""
        return self.own_parts or [self.sub(node) for node in self.part_nodes]

    @property
    def has_default(self) -> bool:
        return "default" in self.node

    def sub(self, node: Json) -> Schema:
        """The schema of a node inside this one."""
        return schema_of(self.document, node, self.base)

    def named(self, keyword: str) -> dict[str, Json]:
        """A keyword whose value is an object; empty where it is missing."""
        found = self.node.get(keyword)
        return found if isinstance(found, dict) else {}

    @property
    def identity(self) -> str:
        """The same text for schemas that say the same."""
        return f"{self.kind} {self.criterion} {self.integer} {json.dumps(self.node, sort_keys=True)} {self.base}"


class _Made:
    """Schemas already made of a document's nodes: a comparison recognises a pair by who they are."""

    def __init__(self) -> None:
        self.schemas: dict[tuple[int, str], Schema] = {}


def schema_of(document: Document, node: Json, base: str) -> Schema:
    """The schema of a node, references followed.

    Raises:
        InvalidSchema: A reference leads nowhere, or round and round.
    """
    for _hop in range(50):
        if not isinstance(node, dict):
            break
        base = document.base_of(node, base)
        if not isinstance(node.get("$ref"), str) or (document.modern and not _only_ref(node)):
            break
        node, base = document.target(node["$ref"], base)
    else:
        raise InvalidSchema(f"$ref {node['$ref']!r} leads only to further references")
    made: _Made = document.__dict__.setdefault("_made", _Made())
    key = (id(node), base)
    if key not in made.schemas:
        made.schemas[key] = _make(document, node, base)
    return made.schemas[key]


def root_schema(document: Document) -> Schema:
    """The schema of the whole document."""
    return schema_of(document, document.root, "")


def _make(document: Document, node: Json, base: str) -> Schema:
    if not isinstance(node, dict):
        return Schema("false" if node is False else "empty", {}, document, base)
    found = _kinds(document, node, base)
    if len(found) == 1:
        return found[0]
    if not found:
        return Schema("empty", node, document, base)
    return Schema("combined", node, document, base, criterion="allOf", own_parts=found)


def _only_ref(node: dict[str, Json]) -> bool:
    beside = {"$ref", "$id", "$schema", "$comment", "$defs", "definitions", "title", "description", "default",
              "examples", "deprecated", "readOnly", "writeOnly", "$anchor"}  # fmt: skip
    return node.keys() <= beside


def _kinds(document: Document, node: dict[str, Json], base: str) -> list[Schema]:
    def one(kind: Kind, **more: object) -> Schema:
        return Schema(kind, node, document, base, **more)  # type: ignore[arg-type]  # fields of Schema

    found: list[Schema] = []
    if isinstance(node.get("$ref"), str):  # with keywords beside it that count
        found.append(one("combined", criterion="allOf", part_nodes=[{"$ref": node["$ref"]}]))
    if "enum" in node:
        found.append(one("enum"))
    for criterion in ("allOf", "anyOf", "oneOf"):
        if isinstance(node.get(criterion), list):
            found.append(one("combined", criterion=criterion, part_nodes=node[criterion]))
    if "not" in node:
        found.append(one("not"))
    if "const" in node and "draft-04" not in document.draft:
        found.append(one("const"))
    types = node.get("type")
    if isinstance(types, str):
        found.append(one(_TYPES[types], integer=types == "integer"))
    elif isinstance(types, list):
        parts = [one(_TYPES[name], integer=name == "integer") for name in types]
        found.append(one("combined", criterion="anyOf", own_parts=parts))
    else:
        found += [one(kind) for kind, keywords in _KEYWORDS.items() if not keywords.isdisjoint(node)]
    if "if" in node and "draft-04" not in document.draft and "draft-06" not in document.draft:
        found.append(one("conditional"))
    return found
