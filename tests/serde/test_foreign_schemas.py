"""Schemas that Ottla did not derive: every Avro type, read without a class as fastavro reads it, and stepped over."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottla.errors import DecodeError
from ottla.serde.avro import decoder, generic_decoder, schema_name
from ottla.serde.avro.varint import encode_long
from tests.serde import oracle
from tests.serde.strategies import LONGS

_settings = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
_serial = itertools.count()

# A schema and a strategy for its values.
Typed = tuple[Any, st.SearchStrategy[Any]]


@dataclasses.dataclass
class Wanted:
    wanted: str


def _float(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


_PRIMITIVES: list[Typed] = [
    ("null", st.none()),
    ("boolean", st.booleans()),
    ("int", st.integers(-(2**31), 2**31 - 1)),
    ("long", LONGS),
    ("float", st.floats(width=32, allow_nan=False)),
    ("double", st.floats(allow_nan=False)),
    ("string", st.text(max_size=80)),
    ("bytes", st.binary(max_size=80)),
]


@st.composite
def schemas(draw: st.DrawFn, depth: int = 0) -> Typed:
    """Schemas of any type with the values they allow."""
    kinds = ["primitive", "fixed", "enum"] + ["array", "map", "record", "optional"] * (depth < 4)
    match draw(st.sampled_from(kinds)):
        case "primitive":
            return draw(st.sampled_from(_PRIMITIVES))
        case "fixed":
            size = draw(st.integers(1, 20))
            name = f"Fixed{next(_serial)}"
            return {"type": "fixed", "name": name, "size": size}, st.binary(min_size=size, max_size=size)
        case "enum":
            symbols = [f"S{i}" for i in range(draw(st.integers(1, 4)))]
            return {"type": "enum", "name": f"Enum{next(_serial)}", "symbols": symbols}, st.sampled_from(symbols)
        case "array":
            schema, values = draw(schemas(depth + 1).filter(lambda typed: not _is_empty(typed[0])))
            return {"type": "array", "items": schema}, st.lists(values, max_size=4)
        case "map":
            schema, values = draw(schemas(depth + 1))
            return {"type": "map", "values": schema}, st.dictionaries(st.text(max_size=5), values, max_size=3)
        case "optional":
            schema, values = draw(schemas(depth + 1).filter(lambda typed: not isinstance(typed[0], list)))
            if schema == "null":
                return schema, values
            return (["null", schema] if draw(st.booleans()) else [schema, "null"]), st.none() | values
        case _:
            fields = draw(st.lists(schemas(depth + 1), max_size=4))
            schema = {
                "type": "record",
                "name": f"Record{next(_serial)}",
                "fields": [{"name": f"f{i}", "type": s} for i, (s, _) in enumerate(fields)],
            }
            return schema, st.fixed_dictionaries({f"f{i}": v for i, (_, v) in enumerate(fields)})


def _is_empty(schema: Any) -> bool:
    if isinstance(schema, dict) and schema["type"] == "record":
        return all(_is_empty(f["type"]) for f in schema["fields"])
    return bool(schema == "null")


@_settings
@given(st.data())
def test_any_schema_is_read_as_fastavro_reads_it(data: st.DataObject) -> None:
    schema, values = data.draw(schemas())
    text = json.dumps(schema)
    payload = oracle.write(data.draw(values), text)
    assert generic_decoder(text)(payload, 0) == oracle.read(payload, text)


@_settings
@given(st.data())
def test_any_field_the_reader_lacks_is_stepped_over(data: st.DataObject) -> None:
    before, first = data.draw(schemas())
    after, second = data.draw(schemas())
    fields = [("before", before), ("wanted", "string"), ("after", after)]
    text = json.dumps({"type": "record", "name": "W", "fields": [{"name": n, "type": t} for n, t in fields]})
    payload = oracle.write({"before": data.draw(first), "wanted": "here", "after": data.draw(second)}, text)
    assert decoder(text, Wanted)(payload, 0) == Wanted("here")
    for end in range(0, len(payload), 7):
        with pytest.raises(DecodeError):
            decoder(text, Wanted)(payload[:end], 0)


@dataclasses.dataclass
class Numbers:
    numbers: list[int]
    counts: dict[str, int]


NUMBERS = json.dumps(
    {
        "type": "record",
        "name": "Numbers",
        "fields": [
            {"name": "numbers", "type": {"type": "array", "items": "long"}},
            {"name": "counts", "type": {"type": "map", "values": "long"}},
            {"name": "wanted", "type": "string", "default": ""},
        ],
    }
)


def test_arrays_and_maps_in_several_blocks_are_read_with_and_without_their_sizes() -> None:
    sized = encode_long(-2) + encode_long(2) + b"\x06\x08"  # two items in two bytes: 3, 4
    array = b"\x04\x02\x04" + sized + b"\x00"
    entry = encode_long(-1) + encode_long(3) + b"\x02a\x02"
    mapping = entry + b"\x02\x02b\x04" + b"\x00"
    payload = array + mapping + b"\x02x"
    assert decoder(NUMBERS, Numbers)(payload, 0) == Numbers([1, 2, 3, 4], {"a": 1, "b": 2})
    assert decoder(NUMBERS, Wanted)(payload, 0) == Wanted("x")
    assert generic_decoder(NUMBERS)(payload, 0) == oracle.read(payload, NUMBERS)


def test_a_block_longer_than_one_byte_can_count_is_read() -> None:
    numbers = Numbers(list(range(-500, 500)), {str(i): i for i in range(300)})
    payload = oracle.write({"numbers": numbers.numbers, "counts": numbers.counts, "wanted": ""}, NUMBERS)
    assert decoder(NUMBERS, Numbers)(payload, 0) == numbers


def test_nan_and_infinity_are_read() -> None:
    assert math.isnan(generic_decoder('"double"')(struct.pack("<d", math.nan), 0))
    assert generic_decoder('"float"')(struct.pack("<f", -math.inf), 0) == -math.inf


def test_lists_nested_deeper_than_python_nests_loops_are_read() -> None:
    schema: Any = "long"
    value: Any = 7
    for _ in range(60):
        schema, value = {"type": "array", "items": schema}, [value]
    text = json.dumps(
        {
            "type": "record",
            "name": "Deep",
            "fields": [{"name": "deep", "type": schema}, {"name": "wanted", "type": "string"}],
        }
    )
    payload = oracle.write({"deep": value, "wanted": "x"}, text)
    assert generic_decoder(text)(payload, 0) == {"deep": value, "wanted": "x"}
    assert decoder(text, Wanted)(payload, 0) == Wanted("x")


def test_a_record_used_everywhere_is_not_spelled_out_everywhere() -> None:
    schema: Any = {"type": "record", "name": "R0", "fields": [{"name": "a", "type": "long"}]}
    for level in range(1, 16):
        fields = [{"name": "a", "type": schema}, {"name": "b", "type": f"R{level - 1}"}]
        schema = {"type": "record", "name": f"R{level}", "fields": fields}
    read = generic_decoder(json.dumps(schema))
    assert read(b"\x02" * 2**15, 0)["a"]["b"]["a"].keys() == {"a", "b"}
    wanted = {
        "type": "record",
        "name": "W",
        "fields": [{"name": "big", "type": schema}, {"name": "wanted", "type": "string"}],
    }
    assert decoder(json.dumps(wanted), Wanted)(b"\x02" * 2**15 + b"\x02x", 0) == Wanted("x")


def test_names_are_resolved_in_their_namespaces() -> None:
    schema = {
        "type": "record",
        "name": "a.Outer",
        "fields": [
            {"name": "x", "type": {"type": "enum", "name": "E", "symbols": ["A"]}},
            {"name": "y", "type": {"type": "record", "name": "b.Inner", "fields": [{"name": "e", "type": "a.E"}]}},
            {"name": "z", "type": ["null", "b.Inner", "E"]},
        ],
    }
    text = json.dumps(schema)
    value = {"x": "A", "y": {"e": "A"}, "z": {"e": "A"}}
    assert generic_decoder(text)(oracle.write(value, text), 0) == value
    assert schema_name(text) == "a.Outer"


def test_field_names_from_outside_are_never_code() -> None:
    name = "'); raise SystemExit('"
    text = json.dumps(
        {
            "type": "record",
            "name": name,
            "fields": [{"name": name, "type": {"type": "enum", "name": "{p}", "symbols": [name]}}],
        }
    )
    assert generic_decoder(text)(b"\0", 0) == {name: name}
    with pytest.raises(DecodeError):
        generic_decoder(text)(b"\x02", 0)


@pytest.mark.parametrize(
    ("logical", "base"),
    [("decimal", "string"), ("timestamp-millis", "int"), ("uuid", "long"), ("made-up", "long"), (7, "string")],
)
def test_a_logical_type_where_it_does_not_belong_is_ignored(logical: Any, base: str) -> None:
    text = json.dumps({"type": base, "logicalType": logical})
    assert generic_decoder(text)(oracle.write("x" if base == "string" else 5, json.dumps(base)), 0) in ("x", 5)
