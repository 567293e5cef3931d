"""What is an Avro schema, and what a person is told about text that is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ottla.registry.avro_parser import parse
from ottla.registry.avro_schema import InvalidSchema, Record, decimal_of
from tests.registry.schema_pairs import array, decimal, enum, field, fixed, record

FAULTS: list[tuple[Any, str]] = [
    ({"type": "record", "name": "R"}, 'at /: "fields" is missing'),
    ({"type": "record", "fields": []}, 'at /: "name" is missing'),
    ({"name": "R"}, 'at /: an object without a "type"'),
    ("Widget", "at /: unknown type 'Widget'; types declared before this place: none"),
    (record(field("a", "Late"), field("b", record(name="Late"))), "at /fields/0/type: unknown type 'Late'"),
    (record(field("a", "int"), field("a", "int")), "at /fields/1: record R has two fields 'a'"),
    (record(field("1a", "int")), "at /fields/0: '1a' is not a field name"),
    (record(name="not-a-name"), "at /: 'not-a-name' is not a name"),
    (record(name="string"), "at /: 'string' is the name of a primitive type"),
    (record(field("a", fixed(1)), field("b", fixed(2))), "at /fields/1/type: F is declared twice"),
    (enum("X", "X"), "at /: an enum with the same symbol twice"),
    (enum("X-Y"), "at /: 'X-Y' is not an enum symbol"),
    (enum("X", default="Z"), 'at /: the enum\'s default "Z" is none of its symbols'),
    ({"type": "enum", "name": "E", "symbols": "XY"}, 'at /: "symbols" must be an array of strings'),
    (fixed(-1), 'at /: "size" of a fixed type must be a whole number from 0 up, not -1'),
    ({"type": "fixed", "name": "F", "size": True}, 'at /: "size" of a fixed type must be a whole number'),
    (["int", ["null"]], "at /1: a union directly inside a union"),
    (["int", "int"], "at /1: int occurs twice in one union"),
    ([array("int"), array("string")], "at /1: array occurs twice in one union"),
    ({"type": "array"}, 'at /: "items" is missing'),
    (17, "at /: a type must be a name, an object or an array, not 17"),
    (record(field("a", "int", order="random")), "at /fields/0: order 'random' is none of"),
    (record(field("a", "int", default="x")), "at /fields/0: field 'a': the default \"x\" is not a value of int"),
    (record(field("a", "int", default=2**31)), "the default 2147483648 is not a value of int"),
    (record(field("a", ["null", "int"], default="x")), 'the default "x" is not a value of union of null, int'),
    (record(field("a", fixed(2), default="abc")), 'the default "abc" is not a value of fixed F'),
    (record(field("a", array("int"), default=[1, "x"])), 'the default [1, "x"] is not a value of array of int'),
    (record(field("a", record(field("b", "int"), name="S"), default={})), "is not a value of record S"),
]


@pytest.mark.parametrize(("schema", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_a_fault_is_told_with_its_place(schema: Any, message: str) -> None:
    with pytest.raises(InvalidSchema) as raised:
        parse(json.dumps(schema))
    assert message in str(raised.value)


@pytest.mark.parametrize("text", ["", "{", "string", '{"type": NaN}', "\ud800"])
def test_text_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidSchema, match="not JSON"):
        parse(text)


@pytest.mark.parametrize("depth", [101, 5_000, 100_000])
def test_a_schema_nested_without_end_is_refused(depth: int) -> None:
    text = '{"type":"array","items":' * depth + '"int"' + "}" * depth
    with pytest.raises(InvalidSchema, match="nested"):
        parse(text)


def test_a_default_of_any_branch_of_a_union_is_accepted() -> None:
    parse(json.dumps(record(field("a", ["null", "int"], default=7))))
    with pytest.raises(InvalidSchema):
        parse(json.dumps(record(field("a", ["null", "int"], default="seven"))))


def test_a_bad_default_that_was_stored_once_can_still_be_read() -> None:
    text = json.dumps(record(field("a", "int", default="x")))
    with pytest.raises(InvalidSchema):
        parse(text)
    parse(text, validate_defaults=False)


def test_names_resolve_in_the_enclosing_namespace() -> None:
    inner = field("a", fixed(2, name="Id"))
    parsed = parse(json.dumps(record(inner, field("b", "Id"), field("c", "n.s.Id"), name="R", namespace="n.s")))
    assert isinstance(parsed, Record)
    assert parsed.name == "n.s.R"
    assert len({id(f.schema) for f in parsed.fields}) == 1


def test_a_decimal_that_does_not_fit_its_fixed_size_is_none() -> None:
    assert decimal_of(parse(json.dumps(decimal(9, 2, fixed(4))))) == (9, 2)
    assert decimal_of(parse(json.dumps(decimal(10, 2, fixed(4))))) is None
    assert decimal_of(parse(json.dumps(decimal(10**9, 2, fixed(4))))) is None
