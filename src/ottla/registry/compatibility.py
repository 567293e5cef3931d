"""The compatibility modes: which earlier versions a new one is held against, and in which direction.

    BACKWARD   a consumer with the new schema reads what producers with the old one wrote: upgrade consumers first
    FORWARD    a consumer with the old schema reads what producers with the new one write: upgrade producers first
    FULL       both
    ..._TRANSITIVE   against every earlier version, not only the latest
    NONE       anything goes

Source: Confluent's documentation, "Schema evolution and compatibility". Only Avro is served so far; a schema type to
come is one more comparison behind `check`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from .avro_compatibility import Incompatibility, incompatibilities
from .avro_schema import AvroSchema, InvalidSchema


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


def check(mode: Compatibility, new: AvroSchema, earlier: Sequence[tuple[int, AvroSchema]]) -> list[Violation]:
    """Holds a new schema against earlier versions.

    Args:
        mode: How strict.
        new: The schema that wants to come next.
        earlier: (version, schema), ascending.

    Returns:
        Every violation against the newest version that is violated; empty if the new schema may follow.

    Raises:
        InvalidSchema: The schemas are too deep to compare.
    """
    try:
        for version, old in reversed(earlier if mode.transitive else earlier[-1:]):
            violations = _violations(mode, new, version, old)
            if violations:
                return violations
    except RecursionError:
        raise InvalidSchema("the schema refers from type to type too deeply to be compared") from None
    return []


def _violations(mode: Compatibility, new: AvroSchema, version: int, old: AvroSchema) -> list[Violation]:
    found = []
    if mode.new_reads_old:
        found += [Violation(version, reason, True) for reason in incompatibilities(new, old)]
    if mode.old_reads_new:
        found += [Violation(version, reason, False) for reason in incompatibilities(old, new)]
    return found
