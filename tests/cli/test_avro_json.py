"""JSON to Avro: what `topic produce --schema-of` writes, read back by an independent reader."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import fastavro
import pytest

from ottla.cli.avro_json import encode_json
from ottla.errors import EncodeError


def read_back(encoded: bytes, schema: Any) -> Any:
    stream = io.BytesIO(encoded)
    value = fastavro.schemaless_reader(stream, fastavro.parse_schema(schema), None)
    assert stream.read() == b"", "bytes are left over"
    return value


def logical(kind: str, logical_type: str, /, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": logical_type, **more}


CASES = [
    ("null", None, None),
    ("boolean", True, True),
    ("int", -2_147_483_648, -2_147_483_648),
    ("long", 2**63 - 1, 2**63 - 1),
    ("long", -(2**63), -(2**63)),
    ("float", 0.5, 0.5),
    ("double", 3, 3.0),
    ("string", "žluť", "žluť"),
    ("bytes", "AP8=", b"\x00\xff"),
    ({"type": "fixed", "name": "F", "size": 2}, "AP8=", b"\x00\xff"),
    ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B", "B"),
    ({"type": "array", "items": "int"}, [1, 2, 3], [1, 2, 3]),
    ({"type": "array", "items": "int"}, [], []),
    ({"type": "map", "values": "string"}, {"a": "b"}, {"a": "b"}),
    ({"type": "map", "values": "string"}, {}, {}),
    (["null", "string"], None, None),
    (["null", "string"], "x", "x"),
    (["null", "long", "double"], 1.5, 1.5),
    (logical("bytes", "decimal", precision=9, scale=2), "12.50", Decimal("12.50")),
    (logical("bytes", "decimal", precision=9, scale=2), "-1.28", Decimal("-1.28")),
    (logical("bytes", "decimal", precision=9, scale=2), "1.28", Decimal("1.28")),
    (logical("fixed", "decimal", name="D", size=4, precision=9, scale=1), 7, Decimal("7.0")),
    (logical("int", "date"), "2010-12-01", date(2010, 12, 1)),
    (logical("int", "time-millis"), "08:26:00.125", time(8, 26, 0, 125000)),
    (logical("long", "timestamp-millis"), "2010-12-01T08:26:00Z", datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
    (
        logical("long", "timestamp-micros"),
        "2010-12-01T09:26:00.123456+01:00",
        datetime(2010, 12, 1, 8, 26, 0, 123456, UTC),
    ),
    (
        logical("long", "timestamp-micros"),
        "1969-12-31T23:59:59.999999Z",
        datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
    ),
    (logical("long", "timestamp-millis"), 1291191960000, datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
]


@pytest.mark.parametrize(("schema", "value", "read"), CASES, ids=[str(number) for number in range(len(CASES))])
def test_another_reader_reads_what_was_meant(schema: Any, value: Any, read: Any) -> None:
    assert read_back(encode_json(value, schema), schema) == read


def test_a_record_may_leave_out_fields_with_defaults_and_refer_to_types_by_name() -> None:
    schema = {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [
            {"name": "line", "type": {"type": "record", "name": "Line", "fields": [{"name": "n", "type": "int"}]}},
            {"name": "more", "type": {"type": "array", "items": "Line"}},
            {"name": "again", "type": ["null", "shop.Order"], "default": None},
            {"name": "note", "type": "string", "default": "none"},
        ],
    }
    inner = {"line": {"n": 3}, "more": []}
    value = {"line": {"n": 1}, "more": [{"n": 2}], "again": inner}
    assert read_back(encode_json(value, schema), schema) == {
        "line": {"n": 1},
        "more": [{"n": 2}],
        "again": inner | {"again": None, "note": "none"},
        "note": "none",
    }


POINT = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": "int"}]}


@pytest.mark.parametrize(
    ("schema", "value", "complaint"),
    [
        ("int", 2**31, "value: expected a whole number of 32 bits, got 2147483648"),
        ("int", True, "expected a whole number"),
        ("string", 1, "value: expected text, got 1"),
        ("bytes", "not base64!", "expected base64 text"),
        ("boolean", 1, "expected true or false"),
        (POINT, {}, "the field 'x' of Point is missing"),
        (POINT, {"x": 1, "y": 2}, "Point has no field y"),
        (POINT, {"x": "1"}, "value.x: expected a whole number"),
        ({"type": "array", "items": POINT}, [{"x": 1}, {"x": None}], "value[1].x: expected"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "Z", "expected one of A"),
        (["null", "int"], "x", "value: 'x' fits no branch of the union"),
        (logical("int", "date"), "yesterday", "expected a date"),
        (logical("bytes", "decimal", precision=4, scale=1), "1.25", "expected a decimal"),
        ({"type": "fixed", "name": "F", "size": 3}, "AP8=", "expected 3 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_what_does_not_fit_is_refused_with_its_place(schema: Any, value: Any, complaint: str) -> None:
    with pytest.raises(EncodeError) as refused:
        encode_json(value, schema)
    assert complaint in str(refused.value)
