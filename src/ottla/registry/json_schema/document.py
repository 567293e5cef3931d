"""A JSON Schema document: parsed, checked against its draft, its `$ref`s resolvable.

Sources: the drafts' core specifications, on identifiers and references.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from ..schema_error import InvalidSchema, MissingExtra

Json = Any

DRAFTS = {
    "http://json-schema.org/draft-04/schema": "Draft4Validator",
    "http://json-schema.org/draft-06/schema": "Draft6Validator",
    "http://json-schema.org/draft-07/schema": "Draft7Validator",
    "https://json-schema.org/draft/2019-09/schema": "Draft201909Validator",
    "https://json-schema.org/draft/2020-12/schema": "Draft202012Validator",
}
DRAFT_DEFAULT = "http://json-schema.org/draft-07/schema"
"""What Confluent's registry takes a schema without `$schema` for."""

_DEPTH_MAX = 200


class Document:
    """A schema and the schemas it refers to.

    Attributes:
        root: The schema's JSON.
        draft: The URI of its draft, without `#`.
    """

    def __init__(self, text: str, references: Mapping[str, str] | None = None, *, check: bool = True) -> None:
        self.root = _json(text, "the schema")
        if not isinstance(self.root, dict | bool):
            raise InvalidSchema("a JSON Schema is an object, true or false")
        self.draft = draft_of(self.root)
        if check:
            _check(self.root, self.draft)
        self._resources: dict[str, Json] = {}
        for name, referred in (references or {}).items():
            node = _json(referred, f"reference {name!r}")
            self._index(node, name)
            self._resources.setdefault(name, node)
        self._index(self.root, "")
        if check:
            for reference, base in _references(self.root, self.base_of(self.root, ""), self.modern):
                self.target(reference, base)

    @property
    def modern(self) -> bool:
        """Whether keywords beside a `$ref` count, as since 2019-09."""
        return "/draft/20" in self.draft

    def base_of(self, node: Json, base: str) -> str:
        """The base URI that holds inside a node."""
        own = node.get("$id", node.get("id")) if isinstance(node, dict) else None
        return urljoin(base, own) if isinstance(own, str) and not own.startswith("#") else base

    def target(self, reference: str, base: str) -> tuple[Json, str]:
        """What a `$ref` points to, and the base URI that holds there.

        Raises:
            InvalidSchema: It points to nothing that is here.
        """
        for absolute in dict.fromkeys((urljoin(base, reference), reference)):
            address, fragment = urldefrag(absolute)
            for key in (absolute, address):
                if key in self._resources:
                    resource = self._resources[key]
                    if key == absolute and fragment:
                        return resource, address
                    found = _pointed(resource, fragment)
                    if found is not None:
                        return found[0], self.base_of(resource, address)
            if address.rstrip("/") in DRAFTS:
                return True, address  # a schema of schemas: anything that is one
        raise InvalidSchema(
            f"$ref {reference!r} points to nothing: neither within the schema nor among its references "
            f"({', '.join(name for name in self._resources if name) or 'it has none'})"
        )

    def _index(self, node: Json, base: str, depth: int = 0) -> None:
        """Notes every node that has an identifier or an anchor."""
        if depth > _DEPTH_MAX:
            raise InvalidSchema(f"the schema is nested more than {_DEPTH_MAX} deep")
        if depth == 0:
            self._resources.setdefault(base, node)
        if isinstance(node, dict):
            own = node.get("$id", node.get("id"))
            if isinstance(own, str):
                if not own.startswith("#"):
                    base = urljoin(base, own).removesuffix("#")
                    self._resources.setdefault(base, node)
                else:
                    self._resources.setdefault(base + own, node)
            for word in ("$anchor", "$dynamicAnchor"):
                if isinstance(node.get(word), str):
                    self._resources.setdefault(f"{base}#{node[word]}", node)
            for key, value in node.items():
                if key not in ("enum", "const", "default", "examples"):
                    self._index(value, base, depth + 1)
        elif isinstance(node, list):
            for value in node:
                self._index(value, base, depth + 1)


def draft_of(root: Json) -> str:
    """The URI of a schema's draft; what is no known draft counts as draft 7."""
    named = root.get("$schema") if isinstance(root, dict) else None
    wanted = named.rstrip("#").replace("https://json-schema.org/draft-0", "http://json-schema.org/draft-0") if (
        isinstance(named, str)
    ) else DRAFT_DEFAULT  # fmt: skip
    return wanted if wanted in DRAFTS else DRAFT_DEFAULT


def compact(text: str) -> str:
    """The text without white space between its parts, everything in its order: Confluent's canonical form."""
    return json.dumps(_json(text, "the schema"), separators=(",", ":"), ensure_ascii=False)


def normalized(text: str) -> str:
    """The same with object members in alphabetical order."""
    return json.dumps(_json(text, "the schema"), separators=(",", ":"), ensure_ascii=False, sort_keys=True)


def _json(text: str, what: str) -> Json:
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise InvalidSchema(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise InvalidSchema(f"{what} is not JSON: {error}") from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check(root: Json, draft: str) -> None:
    try:
        import jsonschema
    except ImportError:
        raise MissingExtra("JSON Schema", "jsonschema") from None
    try:
        getattr(jsonschema, DRAFTS[draft]).check_schema(root)
    except jsonschema.SchemaError as error:
        place = "/".join(str(part) for part in error.absolute_path)
        raise InvalidSchema(f"at #/{place}: {error.message} (by {draft})") from None
    except RecursionError:
        raise InvalidSchema("the schema is nested too deeply") from None


def _pointed(root: Json, fragment: str) -> tuple[Json] | None:
    """The node at a JSON pointer, in a tuple; None if there is none."""
    if fragment == "":
        return (root,)
    if not fragment.startswith("/"):
        return None
    node = root
    for part in unquote(fragment)[1:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and key in node:
            node = node[key]
        elif isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        else:
            return None
    return (node,)


def _references(node: Json, base: str, modern: bool) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        own = node.get("$id", node.get("id"))
        if isinstance(own, str) and not own.startswith("#"):
            base = urljoin(base, own)
        if isinstance(node.get("$ref"), str):
            yield node["$ref"], base
            if not modern:
                return
        for key, value in node.items():
            if key not in ("enum", "const", "default", "examples", "$ref"):
                yield from _references(value, base, modern)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value, base, modern)
