"""The compatibility modes: which earlier versions a new one is held against, and in which direction.

    BACKWARD   a consumer with the new schema reads what producers with the old one wrote: upgrade consumers first
    FORWARD    a consumer with the old schema reads what producers with the new one write: upgrade producers first
    FULL       both
    ..._TRANSITIVE   against every earlier version, not only the latest
    NONE       anything goes

Source: Confluent's documentation, "Schema evolution and compatibility".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from .incompatibility import Incompatibility
from .schema import Schema
from .schema_error import InvalidSchema


class Compatibility(StrEnum):
    """A mode, by Confluent's name."""

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"

    @property
    def transitive(self) -> bool:
        return self.value.endswith("_TRANSITIVE")

    @property
    def new_reads_old(self) -> bool:
        return self.value.startswith(("BACKWARD", "FULL"))

    @property
    def old_reads_new(self) -> bool:
        return self.value.startswith(("FORWARD", "FULL"))


@dataclass(frozen=True, slots=True)
class Violation:
    """A reason why the new schema may not follow `version`, told from the new schema's point of view."""

    version: int
    reason: Incompatibility
    new_reads_old: bool

    def __str__(self) -> str:
        names = ("the new schema", "the old schema")
        reader, writer = names if self.new_reads_old else names[::-1]
        return self.reason.sentence(reader, writer)


def check(
    mode: Compatibility, new: Schema, earlier: Sequence[tuple[int, Schema]], *, lenient: bool = False
) -> list[Violation]:
    """Holds a new schema against earlier versions.

    Args:
        mode: How strict.
        new: The schema that wants to come next.
        earlier: (version, schema), ascending.
        lenient: Confluent's compatibility policy LENIENT, for JSON Schema.

    Returns:
        Every violation against the newest version that is violated; empty if the new schema may follow.

    Raises:
        InvalidSchema: The schemas are too deep to compare.
    """
    if mode is Compatibility.NONE:
        return []
    try:
        for version, old in reversed(earlier if mode.transitive else earlier[-1:]):
            violations = _violations(mode, new, version, old, lenient)
            if violations:
                return violations
    except RecursionError:
        raise InvalidSchema("the schema refers from type to type too deeply to be compared") from None
    return []


def _violations(mode: Compatibility, new: Schema, version: int, old: Schema, lenient: bool) -> list[Violation]:
    if new.kind != old.kind:
        text = f"{{reader}} is of type {new.kind}, {{writer}} of type {old.kind}: a subject keeps its schema type"
        return [Violation(version, Incompatibility("SCHEMA_TYPE", "/", new.kind, old.kind, text, new.kind), True)]
    found = []
    if mode.new_reads_old:
        found += [Violation(version, reason, True) for reason in new.incompatibilities(old, lenient=lenient)]
    if mode.old_reads_new:
        found += [Violation(version, reason, False) for reason in old.incompatibilities(new, lenient=lenient)]
    return found
