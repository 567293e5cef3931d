"""Arrays: items by position, items of all positions, what may follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .document import Json
from .objects import unevaluated
from .values import ADDED, limit

if TYPE_CHECKING:
    from .diff import Comparison
    from .model import Schema


def compare(diff: Comparison, old: Schema, new: Schema) -> None:
    """Everything Confluent compares in two array schemas."""
    with diff.at("items"):
        diff.pair(_every(old), _every(new))
    _positions(diff, old, new)
    _further(diff, old, new)
    unevaluated(diff, old, new, "unevaluatedItems", "UNEVALUATED_ITEMS", "items")
    limit(diff, old, new, "maxItems", "MAX_ITEMS", upper=True)
    limit(diff, old, new, "minItems", "MIN_ITEMS", upper=False)
    if new.node.get("uniqueItems") is True and old.node.get("uniqueItems") is not True:
        with diff.at("uniqueItems"):
            diff.add("UNIQUE_ITEMS_ADDED", "false", "true", ADDED)
    limit(diff, old, new, "maxContains", "MAX_CONTAINS", upper=True)
    limit(diff, old, new, "minContains", "MIN_CONTAINS", upper=False)


def _every(schema: Schema) -> Schema | None:
    """What each item must be, if there is one rule for all."""
    items = schema.node.get("items")
    if items is None or isinstance(items, list) or "prefixItems" in schema.node:
        return None
    return schema.sub(items)


def _listed(schema: Schema) -> list[Json]:
    """The items that have a rule for their position: `items` as a list until 2019-09, then `prefixItems`."""
    for keyword in ("prefixItems", "items"):
        found = schema.node.get(keyword)
        if isinstance(found, list):
            return found
    return []


def _after(schema: Schema) -> Json:
    """What may follow the listed items: true, false or a schema."""
    return schema.node.get("items" if "prefixItems" in schema.node else "additionalItems", True)


def _positions(diff: Comparison, old: Schema, new: Schema) -> None:
    before, after = _listed(old), _listed(new)
    for index in range(max(len(before), len(after))):
        with diff.at("items", str(index)):
            if index >= len(after):
                _removed(diff, new, old.sub(before[index]))
            elif index >= len(before):
                _added(diff, old, new.sub(after[index]))
            else:
                diff.pair(old.sub(before[index]), new.sub(after[index]))


def _removed(diff: Comparison, new: Schema, was: Schema) -> None:
    if _open(new):
        return
    covering = _covering(new)
    if covering is not None:
        diff.pair(was, covering)
        if not diff.fits(was, covering):
            diff.add(
                "ITEM_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", was, covering,
                "the item at {path} is {old} in {writer}; {reader} does not list it, and takes {new} there",
            )  # fmt: skip
    elif was.kind != "false":
        diff.add(
            "ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL", was, "refused",
            "the item at {path} is {old} in {writer}; {reader} does not list it and takes no others",
        )  # fmt: skip


def _added(diff: Comparison, old: Schema, now: Schema) -> None:
    if _open(old):
        if now.kind != "empty":
            diff.add(
                "ITEM_ADDED_TO_OPEN_CONTENT_MODEL", "anything", now,
                "the item at {path} is {new} in {reader}; {writer} takes {old} there",
            )  # fmt: skip
        return
    covering = _covering(old)
    if covering is not None:
        diff.pair(covering, now)
        if not diff.fits(covering, now):
            diff.add(
                "ITEM_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", covering, now,
                "the item at {path} is {new} in {reader}; {writer} takes {old} there",
            )  # fmt: skip


def _further(diff: Comparison, old: Schema, new: Schema) -> None:
    before, after = _after(old), _after(new)
    with diff.at("additionalItems"):
        if (before is False) != (after is False):
            if after is False:
                diff.add(
                    "ADDITIONAL_ITEMS_REMOVED", "allowed", "refused",
                    "further items at {path} are {new} in {reader} but {old} in {writer}",
                )  # fmt: skip
        elif isinstance(after, dict) and not isinstance(before, dict):
            diff.add(
                "ADDITIONAL_ITEMS_NARROWED", "anything", new.sub(after),
                "further items at {path} must be {new} in {reader}, in {writer} {old}",
            )  # fmt: skip
        elif isinstance(before, dict) and isinstance(after, dict):
            diff.pair(old.sub(before), new.sub(after))


def _open(schema: Schema) -> bool:
    if _after(schema) is not True:
        return False
    rest = schema.node.get("unevaluatedItems", True)
    return rest is True or rest == {}


def _covering(schema: Schema) -> Schema | None:
    further = _after(schema)
    if isinstance(further, dict):
        return schema.sub(further)
    rest = schema.node.get("unevaluatedItems", True)
    if further is True and isinstance(rest, dict) and rest:
        return schema.sub(rest)
    return None
