"""Strings, numbers, enums and constants: what Confluent lets change in them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .diff import Comparison
    from .model import Schema

ADDED = "{reader} demands {new} at {path}, {writer} demands nothing of the kind"
LESS = "the limit at {path} is {new} in {reader} but {old} in {writer}: less is allowed than before"


def limit(diff: Comparison, old: Schema, new: Schema, keyword: str, name: str, *, upper: bool) -> None:
    """A limit that may become wider or go, but not come or become narrower."""
    before, after = number_of(old, keyword), number_of(new, keyword)
    if after is None or before == after:
        return
    with diff.at(keyword):
        if before is None:
            diff.add(f"{name}_ADDED", "no limit", after, ADDED)
        elif (after < before) is upper:
            diff.add(f"{name}_{'DECREASED' if upper else 'INCREASED'}", before, after, LESS)


def number_of(schema: Schema, keyword: str) -> Any:
    """A keyword's number; None where it is missing (draft 4 has true and false for exclusive limits)."""
    found = schema.node.get(keyword)
    return None if isinstance(found, bool) or not isinstance(found, int | float) else found


def strings(diff: Comparison, old: Schema, new: Schema) -> None:
    limit(diff, old, new, "maxLength", "MAX_LENGTH", upper=True)
    limit(diff, old, new, "minLength", "MIN_LENGTH", upper=False)
    before, after = old.node.get("pattern"), new.node.get("pattern")
    if after is None or before == after:
        return
    with diff.at("pattern"):
        if before is None:
            diff.add("PATTERN_ADDED", "any", after, ADDED)
        else:
            diff.add(
                "PATTERN_CHANGED", before, after, "the pattern at {path} is {new} in {reader} but {old} in {writer}"
            )


def numbers(diff: Comparison, old: Schema, new: Schema) -> None:
    limit(diff, old, new, "maximum", "MAXIMUM", upper=True)
    limit(diff, old, new, "minimum", "MINIMUM", upper=False)
    limit(diff, old, new, "exclusiveMaximum", "EXCLUSIVE_MAXIMUM", upper=True)
    limit(diff, old, new, "exclusiveMinimum", "EXCLUSIVE_MINIMUM", upper=False)
    _multiple_of(diff, old, new)
    if new.integer and not old.integer:
        diff.add("TYPE_NARROWED", "number", "integer", "the type at {path} is {new} in {reader} but {old} in {writer}")


def _multiple_of(diff: Comparison, old: Schema, new: Schema) -> None:
    before, after = number_of(old, "multipleOf"), number_of(new, "multipleOf")
    if after is None:
        return
    with diff.at("multipleOf"):
        if before is None:
            diff.add("MULTIPLE_OF_ADDED", "any", after, ADDED)
            return
        # Decimals: 0.3 is a multiple of 0.1, though not as binary fractions.
        was, now = Decimal(str(before)), Decimal(str(after))
        if was == now or was % now == 0:
            return
        kind = "MULTIPLE_OF_EXPANDED" if now % was == 0 else "MULTIPLE_OF_CHANGED"
        diff.add(
            kind, before, after,
            "numbers at {path} are multiples of {new} in {reader} but of {old} in {writer}: not all that were allowed "
            "still are",
        )  # fmt: skip


def enums(diff: Comparison, old: Schema, new: Schema) -> None:
    before, after = old.node["enum"], new.node["enum"]
    missing = [value for value in before if not _holds(after, value)]
    if not missing:
        return
    kind = "ENUM_ARRAY_NARROWED" if all(_holds(before, value) for value in after) else "ENUM_ARRAY_CHANGED"
    with diff.at("enum"):
        diff.add(
            kind, before, after, "the values at {path} are {new} in {reader} but {old} in {writer}: some are missing"
        )


def constants(diff: Comparison, old: Schema, new: Schema) -> None:
    if not _same(old.node["const"], new.node["const"]):
        with diff.at("const"):
            diff.add(
                "ENUM_ARRAY_CHANGED", old.node["const"], new.node["const"],
                "the only value at {path} is {new} in {reader} but {old} in {writer}",
            )  # fmt: skip


def _holds(values: list[Any], wanted: Any) -> bool:
    return any(_same(value, wanted) for value in values)


def _same(one: Any, other: Any) -> bool:
    """JSON's equality: true is not 1."""
    return one == other and isinstance(one, bool) is isinstance(other, bool)
