"""The modes: against which versions, and in which direction."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ottla.registry.compatibility import Compatibility, check
from ottla.registry.schema import Schema, parse
from tests.registry.schema_pairs import field, record

BASE = record(field("a", "int"))
ADDED = record(field("a", "int"), field("b", "int"))  # old readers pass b over; new readers miss it
REMOVED = record()  # new readers pass a over; old readers miss it
OPTIONAL = record(field("a", "int"), field("c", "int", default=0))  # both ways
OTHER = record(field("a", "string"))  # neither way

DIRECTIONS = {
    "NONE": {"ADDED", "REMOVED", "OPTIONAL", "OTHER"},
    "BACKWARD": {"REMOVED", "OPTIONAL"},
    "FORWARD": {"ADDED", "OPTIONAL"},
    "FULL": {"OPTIONAL"},
}
CHANGES = {"ADDED": ADDED, "REMOVED": REMOVED, "OPTIONAL": OPTIONAL, "OTHER": OTHER}


def avro(schema: Any) -> Schema:
    return parse("AVRO", json.dumps(schema))


def accepted(mode: str, new: Any, *earlier: Any) -> bool:
    versions = [(index + 1, avro(schema)) for index, schema in enumerate(earlier)]
    return not check(Compatibility(mode), avro(new), versions)


@pytest.mark.parametrize("change", sorted(CHANGES))
@pytest.mark.parametrize("mode", list(Compatibility))
def test_a_mode_accepts_the_changes_of_its_direction(mode: Compatibility, change: str) -> None:
    allowed = DIRECTIONS[mode.value.removesuffix("_TRANSITIVE")]
    assert accepted(mode, CHANGES[change], BASE) == (change in allowed)


@pytest.mark.parametrize("mode", list(Compatibility))
def test_only_a_transitive_mode_looks_beyond_the_latest_version(mode: Compatibility) -> None:
    assert accepted(mode, BASE, OTHER, BASE) == (not mode.transitive)


@pytest.mark.parametrize("mode", list(Compatibility))
def test_a_first_version_is_always_accepted(mode: Compatibility) -> None:
    assert accepted(mode, BASE)


def test_a_violation_names_the_newest_version_that_is_violated() -> None:
    versions = [(3, avro(OTHER)), (5, avro(OTHER)), (9, avro(BASE))]
    found = check(Compatibility.BACKWARD_TRANSITIVE, avro(BASE), versions)
    assert {violation.version for violation in found} == {5}


def test_a_forward_violation_tells_the_old_schema_as_the_reader() -> None:
    [found] = check(Compatibility.FORWARD, avro(REMOVED), [(1, avro(BASE))])
    assert str(found).startswith("the field 'a' at '/fields/0' is in the old schema but not in the new schema")
