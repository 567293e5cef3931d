"""May a reader with this JSON Schema read what was written with that one: Confluent's verdicts.

Other vendors judge otherwise; Confluent's own rules are followed here, with their names for what changed. The main
points, for a new schema that reads what the old one allowed:

- A limit may become wider or go; it may not come or become narrower.
- An object is *open* if it takes any further property, *closed* if none, *partially open* if those that fit a schema.
  A property may be added only to an object that was closed (an open one may have held anything under that name
  before), and may be removed only if the new object is open, or takes what was there. A new property must be optional
  or have a default.
- `anyOf` and `oneOf` may gain alternatives and `allOf` may lose parts, if the others can be matched one to one.

Source: Confluent's documentation, "JSON Schema compatibility rules", and the behaviour of its registry 8.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..incompatibility import Incompatibility
from . import arrays, objects, values
from .document import Document
from .matching import largest_matching
from .model import Schema, root_schema

LENIENT = frozenset(
    {
        "ADDITIONAL_PROPERTIES_NARROWED",
        "ADDITIONAL_PROPERTIES_REMOVED",
        "UNEVALUATED_PROPERTIES_NARROWED",
        "UNEVALUATED_PROPERTIES_REMOVED",
        "REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_OPEN_CONTENT_MODEL",
        "OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL",
        "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL",
        "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
        "PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
    }
)
"""What the compatibility policy LENIENT lets pass besides."""


def incompatibilities(reader: Document, writer: Document, *, lenient: bool = False) -> list[Incompatibility]:
    """Every reason why `reader` cannot read what `writer` allowed; empty if it can.

    A schema that contains itself is compared on the assumption that it is compatible with itself. What an assumption
    led to is checked with the pairs that proved incompatible, until nothing new is found.
    """
    known: dict[tuple[int, int], list[Difference]] = {}
    while True:
        comparison = Comparison(lenient, known)
        found = comparison.compare(root_schema(writer), root_schema(reader))
        wrong = {pair: result for pair, result in comparison.done.items() if result}
        if not comparison.assumed or wrong.keys() == known.keys():
            return [difference.told() for difference in found]
        known = wrong


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference that is not allowed, at a path relative to the pair it was found in."""

    kind: str
    path: tuple[str, ...]
    old: str
    new: str
    text: str

    def below(self, path: tuple[str, ...]) -> Difference:
        return Difference(self.kind, path + self.path, self.old, self.new, self.text)

    def told(self) -> Incompatibility:
        path = "#/" + "/".join(self.path)
        text = self.text.replace("{path}", f"'{path}'").replace("{new}", self.new).replace("{old}", self.old)
        return Incompatibility(self.kind, path, self.new, self.old, text, f"{self.old} -> {self.new}")


class Comparison:
    """One comparison of two documents.

    Attributes:
        done: Pairs compared, with what was found.
        assumed: Whether some pair was taken for compatible because it was being compared already.
    """

    def __init__(self, lenient: bool, known: dict[tuple[int, int], list[Difference]]) -> None:
        self.lenient = lenient
        self.known = known
        self.done: dict[tuple[int, int], list[Difference]] = {}
        self.assumed = False
        self._open: set[tuple[int, int]] = set()
        self._path: list[str] = []
        self._found: list[Difference] = []

    # ------------------------------------------------------------------ for the kinds' own comparisons

    @contextmanager
    def at(self, *path: str) -> Iterator[None]:
        """What is found in the block lies there."""
        self._path += path
        yield
        del self._path[len(self._path) - len(path) :]

    def add(self, kind: str, old: Any, new: Any, text: str) -> None:
        """A difference, unless the policy lets it pass."""
        if not (self.lenient and kind in LENIENT):
            self._found.append(Difference(kind, tuple(self._path), shown(old), shown(new), text))

    def pair(self, old: Schema | None, new: Schema | None) -> None:
        """Compares two schemas; what is found counts."""
        if new is None:
            return
        if old is None:
            self.add("SCHEMA_ADDED", "nothing", new, "{reader} demands {new} at {path}, {writer} demands nothing")
            return
        self._found += [difference.below(tuple(self._path)) for difference in self.compare(old, new)]

    def fits(self, old: Schema, new: Schema) -> bool:
        """Whether `new` reads what `old` allowed; what is found does not count."""
        return not self.compare(old, new)

    # ------------------------------------------------------------------ pairs

    def compare(self, old: Schema, new: Schema) -> list[Difference]:
        """What is not allowed between two schemas, at paths relative to them."""
        key = (id(old), id(new))
        if key in self.done:
            return self.done[key]
        if key in self._open:
            if key in self.known:
                return self.known[key]
            self.assumed = True
            return []
        self._open.add(key)
        before, self._found = self._found, []
        path, self._path = self._path, []
        try:
            self._compare(old, new)
            self.done[key] = self._found
            return self._found
        finally:
            self._found, self._path = before, path
            self._open.remove(key)

    def _compare(self, old: Schema, new: Schema) -> None:
        if self._combined_with_plain(old, new):
            return
        if old.kind != new.kind:
            if old.kind == "false" or new.kind == "empty":
                return
            if old.node.get("connect.type") == "bytes" and new.node.get("connect.type") == "bytes":
                return
            self.add(
                "TYPE_CHANGED", old, new,
                "the schema at {path} is {new} in {reader} but {old} in {writer}",
            )  # fmt: skip
            return
        match new.kind:
            case "string":
                values.strings(self, old, new)
            case "number":
                values.numbers(self, old, new)
            case "enum":
                values.enums(self, old, new)
            case "const":
                values.constants(self, old, new)
            case "not":
                self._negations(old, new)
            case "object":
                objects.compare(self, old, new)
            case "array":
                arrays.compare(self, old, new)
            case "combined":
                self._combined(old, new)

    def _combined_with_plain(self, old: Schema, new: Schema) -> bool:
        """One side is combined, the other is not: whether that alone decides that they fit."""
        if old.kind != "combined" and new.kind == "combined":
            alternatives = new.criterion != "allOf" or len(new.parts) == 1
            return alternatives and any(self.fits(old, part) for part in new.parts)
        if old.kind == "combined" and new.kind != "combined":
            every = old.criterion == "allOf" or len(old.parts) == 1
            return every and any(self.fits(part, new) for part in old.parts)
        return False

    def _negations(self, old: Schema, new: Schema) -> None:
        if not self.fits(new.sub(new.node["not"]), old.sub(old.node["not"])):
            with self.at("not"):
                self.add(
                    "NOT_TYPE_EXTENDED", old.node["not"], new.node["not"],
                    "{reader} forbids at {path} what {writer} allowed: {new}, before: {old}",
                )  # fmt: skip

    def _combined(self, old: Schema, new: Schema) -> None:
        if old.criterion != new.criterion and not _criterion_widened(old, new):
            self.add(
                "COMBINED_TYPE_CHANGED", old.criterion, new.criterion,
                "the schema at {path} is combined by {new} in {reader} but by {old} in {writer}",
            )  # fmt: skip
            return
        before = list({part.identity: part for part in old.parts}.values())
        after = list({part.identity: part for part in new.parts}.values())
        if len(before) < len(after) and new.criterion == "allOf":
            self.add(
                "PRODUCT_TYPE_EXTENDED", len(before), len(after),
                "allOf at {path} has {new} parts in {reader} but {old} in {writer}: more must hold than before",
            )  # fmt: skip
        if len(before) > len(after) and old.criterion != "allOf":
            self.add(
                "SUM_TYPE_NARROWED", len(before), len(after),
                f"{old.criterion} at {{path}} has {{new}} alternatives in {{reader}} but {{old}} in {{writer}}: what "
                f"was written under the missing ones cannot be read",
            )  # fmt: skip
        edges = {
            index: [at for at, part in enumerate(after) if self.fits(one, part)] for index, one in enumerate(before)
        }
        if largest_matching(edges) < min(len(before), len(after)):
            self.add(
                "COMBINED_TYPE_SUBSCHEMAS_CHANGED", [describe(part) for part in before],
                [describe(part) for part in after],
                f"the parts of {old.criterion} at {{path}} cannot be matched one to one: {{new}} in {{reader}}, "
                f"{{old}} in {{writer}}",
            )  # fmt: skip


def _criterion_widened(old: Schema, new: Schema) -> bool:
    one_before, one_after = len(old.parts) == 1, len(new.parts) == 1
    return (
        new.criterion == "anyOf"
        or (one_before and one_after)
        or (one_before and new.criterion == "oneOf")
        or (one_after and old.criterion == "allOf")
    )


def describe(schema: Schema) -> str:
    """A schema in a few words."""
    match schema.kind:
        case "number":
            return "integer" if schema.integer else "number"
        case "enum":
            return f"enum {shown(schema.node['enum'])}"
        case "const":
            return f"const {shown(schema.node['const'])}"
        case "combined":
            return f"{schema.criterion} [{', '.join(part.kind for part in schema.parts)}]"
        case "empty":
            return "anything"
        case "false":
            return "nothing at all"
    title = schema.node.get("title")
    return f"{schema.kind} {title!r}" if isinstance(title, str) else schema.kind


def shown(value: Any) -> str:
    """A value in a message, cut where it is long."""
    if isinstance(value, Schema):
        return describe(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 120 else f"{text[:117]}..."
