"""Objects: properties that come and go, what is required, what else an object may hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .values import limit

if TYPE_CHECKING:
    from .diff import Comparison
    from .model import Schema


def compare(diff: Comparison, old: Schema, new: Schema) -> None:
    """Everything Confluent compares in two object schemas."""
    _required(diff, old, new)
    _properties(diff, old, new)
    _dependencies(diff, old, new)
    additional(diff, old, new, "additionalProperties", "ADDITIONAL_PROPERTIES", "properties")
    unevaluated(diff, old, new, "unevaluatedProperties", "UNEVALUATED_PROPERTIES", "properties")
    limit(diff, old, new, "maxProperties", "MAX_PROPERTIES", upper=True)
    limit(diff, old, new, "minProperties", "MIN_PROPERTIES", upper=False)


def _required_names(schema: Schema) -> set[str]:
    found = schema.node.get("required")
    return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()


def _required(diff: Comparison, old: Schema, new: Schema) -> None:
    before, after = _required_names(old), _required_names(new)
    for name in old.named("properties"):
        if name in new.named("properties") and name in after - before and not _has_default(new, name):
            with diff.at("required", name):
                diff.add(
                    "REQUIRED_ATTRIBUTE_ADDED",
                    "optional",
                    "required",
                    f"property {name!r} is {{new}} in {{reader}} but {{old}} in {{writer}}, at {{path}}: give it a "
                    f"default, or leave it optional",
                )


def _has_default(schema: Schema, name: str) -> bool:
    return schema.sub(schema.named("properties")[name]).has_default


def _properties(diff: Comparison, old: Schema, new: Schema) -> None:
    before, after = old.named("properties"), new.named("properties")
    for name in dict.fromkeys((*before, *after)):
        with diff.at("properties", name):
            if name not in after:
                _removed(diff, new, name, old.sub(before[name]))
            elif name not in before:
                _added(diff, old, new, name, new.sub(after[name]))
            else:
                diff.pair(old.sub(before[name]), new.sub(after[name]))


def _removed(diff: Comparison, new: Schema, name: str, was: Schema) -> None:
    if _open(new):
        return
    covering = _covering(new, name)
    if covering is not None:
        diff.pair(was, covering)
        if not diff.fits(was, covering):
            diff.add(
                "PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", was, covering,
                "the property at {path} is {old} in {writer}; {reader} has no such property, and what it takes "
                "besides is {new}",
            )  # fmt: skip
    elif was.kind != "false":
        diff.add(
            "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", was, "refused",
            "the property at {path} is {old} in {writer}; {reader} has no such property and takes no others: keep it, "
            "or allow additionalProperties",
        )  # fmt: skip


def _added(diff: Comparison, old: Schema, new: Schema, name: str, now: Schema) -> None:
    required = name in _required_names(new)
    if _open(old):
        if now.kind == "empty":
            return
        kind = "OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL"
        if required:
            kind = "REQUIRED_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL"
            if now.has_default:
                kind = "REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_OPEN_CONTENT_MODEL"
        diff.add(
            kind, "anything", now,
            "the property at {path} is {new} in {reader}; {writer} does not name it and takes any further property, "
            'so there may be {old} under that name already: set "additionalProperties": false from the first version '
            "on, or the compatibility policy LENIENT",
        )  # fmt: skip
        return
    covering = _covering(old, name)
    if covering is not None:
        diff.pair(covering, now)
        if not diff.fits(covering, now):
            diff.add(
                "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", covering, now,
                "the property at {path} is {new} in {reader}; {writer} does not name it, but takes {old} there",
            )  # fmt: skip
    if required and not now.has_default:
        diff.add(
            "REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", "no such property", f"required, {now.kind}",
            "the property at {path} is {new} in {reader}; {writer} has {old}: make it optional, or give it a default",
        )  # fmt: skip


def _dependencies(diff: Comparison, old: Schema, new: Schema) -> None:
    before, after = old.named("dependencies"), new.named("dependencies")
    lists = [
        {
            name: value
            for name, value in {**given, **schema.named("dependentRequired")}.items()
            if isinstance(value, list)
        }
        for schema, given in ((old, before), (new, after))
    ]
    for name, names in lists[1].items():
        with diff.at("dependencies", name):
            if name not in lists[0]:
                diff.add("DEPENDENCY_ARRAY_ADDED", "nothing", names, DEPENDS)
                continue
            was, now = set(lists[0][name]), set(names)
            if now - was:
                kind = "DEPENDENCY_ARRAY_EXTENDED" if now >= was else "DEPENDENCY_ARRAY_CHANGED"
                diff.add(kind, sorted(was), sorted(now), DEPENDS)
    schemas = [
        {
            name: value
            for name, value in {**given, **schema.named("dependentSchemas")}.items()
            if not isinstance(value, list)
        }
        for schema, given in ((old, before), (new, after))
    ]
    for name, node in schemas[1].items():
        with diff.at("dependencies", name):
            if name in schemas[0]:
                diff.pair(old.sub(schemas[0][name]), new.sub(node))
            else:
                diff.add("DEPENDENCY_SCHEMA_ADDED", "nothing", new.sub(node), DEPENDS)


DEPENDS = "where the property at {path} is there, {reader} demands {new}, {writer} {old}"


def additional(diff: Comparison, old: Schema, new: Schema, keyword: str, name: str, what: str) -> None:
    """additionalProperties or additionalItems: true, false or a schema."""
    before, after = old.node.get(keyword, True), new.node.get(keyword, True)
    with diff.at(keyword):
        if (before is False) != (after is False):
            if after is False:
                diff.add(
                    f"{name}_REMOVED",
                    "allowed",
                    "refused",
                    f"further {what} at {{path}} are {{new}} in {{reader}} but {{old}} in {{writer}}",
                )
        elif isinstance(after, dict) and not isinstance(before, dict):
            diff.add(
                f"{name}_NARROWED",
                "anything",
                new.sub(after),
                f"further {what} at {{path}} must be {{new}} in {{reader}}, in {{writer}} {{old}}",
            )
        elif isinstance(before, dict) and isinstance(after, dict):
            diff.pair(old.sub(before), new.sub(after))


def unevaluated(diff: Comparison, old: Schema, new: Schema, keyword: str, name: str, what: str) -> None:
    """unevaluatedProperties or unevaluatedItems: missing, true, false or a schema."""
    before = old.sub(old.node[keyword]) if keyword in old.node else None
    after = new.sub(new.node[keyword]) if keyword in new.node else None
    if after is None:
        return
    with diff.at(keyword):
        if after.kind == "false" and (before is None or before.kind != "false"):
            diff.add(
                f"{name}_REMOVED",
                "allowed",
                "refused",
                f"other {what} at {{path}} are {{new}} in {{reader}} but {{old}} in {{writer}}",
            )
        elif before is None or (before.kind == "empty" and after.kind != "empty"):
            diff.add(
                f"{name}_NARROWED",
                "anything",
                after,
                f"other {what} at {{path}} must be {{new}} in {{reader}}, in {{writer}} {{old}}",
            )
        elif before.kind != "false" and after.kind != "empty":
            diff.pair(before, after)


def _open(schema: Schema) -> bool:
    """Whether an object takes any further property."""
    if schema.node.get("additionalProperties", True) is not True or schema.named("patternProperties"):
        return False
    rest = schema.node.get("unevaluatedProperties", True)
    return rest is True or rest == {}


def _covering(schema: Schema, name: str) -> Schema | None:
    """The schema that a property must fit which an object does not name; None if it takes none, or any."""
    for pattern, node in schema.named("patternProperties").items():
        try:
            if re.search(pattern, name):
                return schema.sub(node)
        except re.error:  # a pattern of ECMA's that Python does not know
            continue
    further = schema.node.get("additionalProperties", True)
    if isinstance(further, dict):
        return schema.sub(further)
    rest = schema.node.get("unevaluatedProperties", True)
    if further is True and isinstance(rest, dict) and rest:
        return schema.sub(rest)
    return None
