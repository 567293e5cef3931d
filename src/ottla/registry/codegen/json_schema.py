"""From a JSON Schema: a class for each object with properties."""

from __future__ import annotations

import json
import re
from typing import Any

from ...serde.registry import Registered
from ..json_schema.document import Document
from ..schema_error import InvalidSchema
from .model import Class, EnumClass, Field, Module, member_name, python_name

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIMPLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_FORMATS = {"date-time": "datetime", "date": "date", "time": "time", "duration": "timedelta", "uuid": "UUID"}


def module_of_json(schema: Registered) -> Module:
    """Classes for an object and all objects in it."""
    document = Document(schema.text, schema.references, check=False)
    root = document.root
    if not isinstance(root, dict) or not isinstance(root.get("properties"), dict):
        raise InvalidSchema("the schema is no object with properties, so there is no class to write")
    walk = _Walk(Module("json"), document)
    walk.module.full_name = str(root.get("title") or "Event")
    walk.module.main = walk.object(root, "", walk.module.full_name)
    return walk.module


class _Walk:
    def __init__(self, module: Module, document: Document) -> None:
        self.module = module
        self.document = document
        self.seen: dict[int, str] = {}

    def object(self, node: dict[str, Any], base: str, full_name: str) -> str:
        if id(node) in self.seen:
            return self.seen[id(node)]
        name = self.seen[id(node)] = self.module.class_name(full_name)
        base = self.document.base_of(node, base)
        made = Class(name, full_name, doc=node.get("description"))
        required = node.get("required") or []
        for wire, inner in node["properties"].items():
            if wire == "@type":
                continue
            if not _NAME.fullmatch(wire):
                raise InvalidSchema(
                    f"{full_name}: {wire!r} cannot be the name of an event's field (letters, digits, _)"
                )
            kind = self.type(inner, base, f"{full_name.rpartition('.')[2]}_{wire}")
            default = None
            if wire not in required:
                default = self.default(inner, base, kind)
                if default is None:
                    kind, default = (kind if kind.endswith("| None") else f"{kind} | None"), "None"
            description = inner.get("description") if isinstance(inner, dict) else None
            made.fields.append(Field(python_name(wire), wire, kind, default, description))
        self.module.declarations.append(made)
        return name

    def type(self, node: Any, base: str, hint: str) -> str:
        if not isinstance(node, dict):
            raise InvalidSchema(f"{hint}: a property that may be anything has no type in Python")
        if isinstance(node.get("$ref"), str):
            target, target_base = self.document.target(node["$ref"], base)
            named = target.get("title") if isinstance(target, dict) else None
            return self.type(target, target_base, str(named or node["$ref"].rpartition("/")[2] or hint))
        if isinstance(node.get("enum"), list):
            return self.enum(node, hint)
        for word in ("oneOf", "anyOf"):
            if isinstance(node.get(word), list):
                return _union([self.type(one, base, f"{hint}_{at}") for at, one in enumerate(node[word])])
        kinds = node.get("type")
        if isinstance(kinds, list):
            return _union([self.type({**node, "type": kind}, base, hint) for kind in kinds])
        if kinds == "array":
            return f"list[{self.type(node.get('items'), base, f'{hint}_item')}]"
        if kinds == "object" or "properties" in node:
            return self.mapping(node, base, hint)
        if kinds == "string":
            return self.text(node)
        if kinds in _SIMPLE:
            return _SIMPLE[kinds]
        raise InvalidSchema(f"{hint}: {json.dumps(node)[:80]} has no type in Python")

    def mapping(self, node: dict[str, Any], base: str, hint: str) -> str:
        if isinstance(node.get("properties"), dict):
            return self.object(node, base, str(node.get("title") or "".join(map(_capital, hint.split("_")))))
        return f"dict[str, {self.type(node.get('additionalProperties'), base, f'{hint}_value')}]"

    def text(self, node: dict[str, Any]) -> str:
        if node.get("contentEncoding") == "base64":
            return "bytes"
        if node.get("format") == "decimal":
            return f"Annotated[Decimal, Digits({node.get('precision', 38)}, {node.get('scale', 9)})]"
        return _FORMATS.get(node.get("format", ""), "str")

    def enum(self, node: dict[str, Any], hint: str) -> str:
        values = node["enum"]
        if not all(isinstance(value, str) for value in values):
            return f"Literal[{', '.join(repr(value) for value in values)}]"
        if id(node) not in self.seen:
            name = self.seen[id(node)] = self.module.class_name("".join(map(_capital, hint.split("_"))))
            members = [(member_name(value), json.dumps(value, ensure_ascii=False)) for value in values]
            self.module.declarations.append(EnumClass(name, members))
        return self.seen[id(node)]

    def default(self, node: Any, base: str, kind: str) -> str | None:
        if not isinstance(node, dict) or "default" not in node:
            return None
        value = node["default"]
        if value is None:
            return "None" if kind.endswith("None") else None
        if isinstance(value, list | dict):
            return repr(value) if not value else None
        known = self.seen.get(id(node))
        if known == kind and isinstance(value, str):
            return f"{kind}.{member_name(value)}"
        if kind.split(" | ")[0] in ("str", "int", "bool"):
            return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
        return repr(float(value)) if kind.startswith("float") else None


def _union(kinds: list[str]) -> str:
    unique = list(dict.fromkeys(part for kind in kinds for part in kind.split(" | ")))
    return " | ".join([one for one in unique if one != "None"] + ["None"] * ("None" in unique))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
