"""Avro's resolution rules, by a table of pairs, and by Apache's own checker as a second opinion."""

from __future__ import annotations

import json
from typing import Any

import avro.schema
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.registry.avro_compatibility import incompatibilities
from ottla.registry.avro_parser import parse
from tests.registry.schema_pairs import PAIRS, Pair, array, enum, field, fixed, mapping, record


def kinds(reader: str, writer: str) -> list[str]:
    return [found.kind for found in incompatibilities(parse(reader), parse(writer))]


def apache_says_compatible(reader: str, writer: str) -> bool:
    checker: Any = ReaderWriterCompatibilityChecker  # the library's types are not right here
    verdict = checker().get_compatibility(avro.schema.parse(reader), avro.schema.parse(writer))
    return bool(verdict.compatibility is SchemaCompatibilityType.compatible)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_pair_gets_its_verdict(pair: Pair) -> None:
    assert sorted(kinds(pair.reader, pair.writer)) == sorted(pair.kinds)


@pytest.mark.filterwarnings("ignore::avro.errors.IgnoredLogicalType")
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_apaches_checker_agrees_with_the_table(pair: Pair) -> None:
    agrees = apache_says_compatible(pair.reader, pair.writer) == (not pair.kinds)
    assert agrees == (pair.differs is None)


def test_an_incompatibility_says_path_kind_and_both_values() -> None:
    reader = record(field("items", array(record(field("size", fixed(8, name="Digest")), name="Item"))))
    writer = record(field("items", array(record(field("size", fixed(4, name="Digest")), name="Item"))))
    [found] = incompatibilities(parse(json.dumps(reader)), parse(json.dumps(writer)))
    assert found.path == "/fields/0/type/items/fields/0/type/size"
    assert (found.kind, found.reader, found.writer) == ("FIXED_SIZE_MISMATCH", "fixed Digest", "fixed Digest")
    assert found.sentence("the new schema", "the old schema") == (
        "the fixed type Digest at '/fields/0/type/items/fields/0/type/size' has 8 bytes in the new schema but 4 in "
        "the old schema"
    )


def test_a_new_field_without_default_is_told_in_words() -> None:
    [found] = incompatibilities(parse(json.dumps(record(field("a", "int")))), parse(json.dumps(record())))
    assert found.sentence("version 2", "version 1") == (
        "the field 'a' at '/fields/0' is in version 2 but not in version 1 and has no default value: give it one"
    )


def test_shared_types_do_not_cost_exponential_time() -> None:
    kind: Any = record(field("v", "int"), name="L0")
    for level in range(1, 40):
        kind = record(field("x", ["null", kind]), field("y", ["null", f"L{level - 1}"]), name=f"L{level}")
    text = json.dumps(kind)
    assert kinds(text, text) == []


NAMES = st.sampled_from(["A", "B"])
LEAVES = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])
ENUMS = st.builds(
    lambda symbols, default: enum(*symbols, **({"default": symbols[0]} if default else {})),
    st.lists(st.sampled_from("XYZ"), min_size=1, max_size=3, unique=True),
    st.booleans(),
)


def records(kind: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = st.dictionaries(st.sampled_from("abc"), kind, max_size=3)
    return fields.map(lambda found: record(*(field(name, kind) for name, kind in found.items())))


SCHEMAS = st.recursive(
    LEAVES | ENUMS | st.sampled_from([fixed(4), fixed(8)]),
    lambda kind: kind.map(array) | kind.map(mapping) | records(kind) | st.tuples(kind).map(lambda k: ["null", k[0]]),
    max_leaves=5,
)


def parseable(schema: Any) -> str | None:
    text = json.dumps(schema)
    try:
        parse(text)
        avro.schema.parse(text)
    except Exception:  # two declarations of one name, unions in unions: not what is tested here
        return None
    return text


TEXTS = SCHEMAS.map(parseable).filter(lambda text: text is not None)


@settings(max_examples=400, deadline=None)
@given(TEXTS, TEXTS)
def test_on_any_pair_the_verdict_is_apaches(reader: str, writer: str) -> None:
    assert (kinds(reader, writer) == []) == apache_says_compatible(reader, writer)


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_every_schema_reads_itself(text: str) -> None:
    assert kinds(text, text) == []
