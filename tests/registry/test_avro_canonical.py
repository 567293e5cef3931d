"""The text a schema is stored under."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ottla.registry.avro_canonical import canonical
from ottla.registry.avro_parser import parse
from tests.registry.schema_pairs import PAIRS, enum, field, fixed, record

# What Java's Schema.toString() prints: attributes in its order, names as short as the namespace allows.
JAVA: list[tuple[Any, str]] = [
    ({"type": "string"}, '"string"'),
    ({"avro.java.string": "String", "type": "string"}, '{"type":"string","avro.java.string":"String"}'),
    (
        {"fields": [], "doc": "d", "aliases": ["Old"], "owner": "x", "namespace": "n.s", "name": "R", "type": "record"},
        '{"type":"record","name":"R","namespace":"n.s","doc":"d","fields":[],"owner":"x","aliases":["Old"]}',
    ),
    ({"type": "record", "name": "n.s.R", "fields": []}, '{"type":"record","name":"R","namespace":"n.s","fields":[]}'),
    (
        record(
            {"default": 1, "order": "descending", "doc": "d", "aliases": ["b"], "pii": True, "type": "int", "name": "a"}
        ),
        '{"type":"record","name":"R","fields":[{"name":"a","type":"int","doc":"d","default":1,"order":"descending",'
        '"aliases":["b"],"pii":true}]}',
    ),
    (record(field("a", "int", order="ascending")), '{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}'),
    (
        record(field("a", fixed(2, name="n.s.Id")), field("b", "n.s.Id"), namespace="n.s"),
        '{"type":"record","name":"R","namespace":"n.s","fields":[{"name":"a","type":{"type":"fixed","name":"Id",'
        '"size":2}},{"name":"b","type":"Id"}]}',
    ),
    (
        record(field("a", fixed(2, name="m.Id")), field("b", "m.Id"), namespace="n"),
        '{"type":"record","name":"R","namespace":"n","fields":[{"name":"a","type":{"type":"fixed","name":"Id",'
        '"namespace":"m","size":2}},{"name":"b","type":"m.Id"}]}',
    ),
    (enum("X", default="X", namespace="n"), '{"type":"enum","name":"E","namespace":"n","symbols":["X"],"default":"X"}'),
    (
        {"type": "bytes", "scale": 2, "precision": 4, "logicalType": "decimal"},
        '{"type":"bytes","scale":2,"precision":4,"logicalType":"decimal"}',
    ),
    ({"type": {"type": "array", "items": {"type": "int"}}}, '{"type":"array","items":"int"}'),
    (record(doc="Größe"), '{"type":"record","name":"R","doc":"Größe","fields":[]}'),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "text"), JAVA, ids=[text for _, text in JAVA])
def test_a_schema_is_written_as_java_writes_it(schema: Any, text: str) -> None:
    assert canonical(parse(json.dumps(schema))) == text


@pytest.mark.parametrize("text", sorted({pair.reader for pair in PAIRS}))
def test_the_canonical_text_is_its_own_canonical_text(text: str) -> None:
    once = canonical(parse(text))
    assert canonical(parse(once)) == once


def test_white_space_does_not_make_another_schema() -> None:
    schema = record(field("a", ["null", "string"], default=None))
    assert canonical(parse(json.dumps(schema, indent=4))) == canonical(parse(json.dumps(schema)))


def test_docs_and_defaults_make_another_schema() -> None:
    plain = record(field("a", "int"))
    others = [record(field("a", "int"), doc="d"), record(field("a", "int", default=0)), plain]
    assert len({canonical(parse(json.dumps(schema))) for schema in others}) == 3
