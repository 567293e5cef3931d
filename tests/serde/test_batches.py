"""Many payloads at once: to objects, from objects, and to columns."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottla.errors import DecodeError, EncodeError
from ottla.events.derivation import record_shape
from ottla.events.schema import schema_text
from ottla.serde.avro import ColumnReader, decode_leading, decode_many, decoder, encode_many, encoder, generic_decoder
from tests.serde import oracle
from tests.serde.samples import WIDE, Carrier, Color, OrderCreated, OrderItem, Wide
from tests.serde.strategies import objects

ORDERS = [OrderCreated(f"o-{i}", "c", Decimal(i) / 4, WIDE.at, [OrderItem("a", i, 0.5)] * (i % 3)) for i in range(200)]
SCHEMA = schema_text(OrderCreated)
_settings = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

FIELDS = {
    "text": "string",
    "whole": "long",
    "small": "int",
    "real": "double",
    "single": "float",
    "yes": "boolean",
    "raw": "bytes",
    "key": {"type": "fixed", "name": "Key", "size": 3},
    "colour": {"type": "enum", "name": "Colour", "symbols": ["red", "green"]},
    "at": {"type": "long", "logicalType": "timestamp-micros"},
    "at_ms": {"type": "long", "logicalType": "timestamp-millis"},
    "day": {"type": "int", "logicalType": "date"},
    "clock": {"type": "int", "logicalType": "time-millis"},
    "price": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2},
    "maybe": ["null", "long"],
    "maybe_text": ["string", "null"],
    "maybe_real": ["null", "double"],
}


def record(fields: dict[str, Any]) -> str:
    return json.dumps({"type": "record", "name": "R", "fields": [{"name": n, "type": t} for n, t in fields.items()]})


def test_many_events_are_written_and_read_at_once() -> None:
    payloads = encode_many(encoder(OrderCreated), ORDERS, b"12345")
    assert payloads == [b"12345" + encoder(OrderCreated)(order) for order in ORDERS]
    assert decode_many(decoder(SCHEMA, OrderCreated), payloads, 5) == ORDERS
    assert decode_many(generic_decoder(SCHEMA), payloads, 5)[7]["order_id"] == "o-7"
    assert decode_many(decoder(SCHEMA, OrderCreated), []) == []


@pytest.mark.parametrize("end", [None, b"", b"1234", b"12346", b"12346abcdefg"], ids=repr)
def test_those_from_the_first_on_that_begin_alike_are_read(end: bytes | None) -> None:
    payloads: list[Any] = encode_many(encoder(OrderCreated), ORDERS, b"12345")
    read = decoder(SCHEMA, OrderCreated)
    assert decode_leading(read, payloads, 5) == ORDERS
    assert decode_leading(read, payloads[:1], 5) == ORDERS[:1]
    payloads[9] = end
    assert decode_leading(read, payloads, 5) == ORDERS[:9]
    payloads[3] = payloads[3][:-3]
    with pytest.raises(DecodeError) as caught:
        decode_leading(read, payloads, 5)
    assert caught.value.index == 3


def test_the_payload_that_is_damaged_is_named() -> None:
    payloads = encode_many(encoder(OrderCreated), ORDERS)
    payloads[17] = payloads[17][:-3]
    for read in (
        lambda: decode_many(decoder(SCHEMA, OrderCreated), payloads),
        lambda: ColumnReader(SCHEMA, ["order_id"])(payloads),
    ):
        with pytest.raises(DecodeError, match="payload 17") as caught:
            read()
        assert caught.value.index == 17
        assert caught.value.position == len(payloads[17])


def test_the_event_that_does_not_fit_is_named() -> None:
    orders = list(ORDERS)
    orders[3] = OrderCreated("o", None, Decimal(0), WIDE.at, [])  # type: ignore[arg-type]
    with pytest.raises(EncodeError, match="customer_id") as caught:
        encode_many(encoder(OrderCreated), orders)
    assert caught.value.index == 3


def test_columns_are_the_fields_of_all_payloads() -> None:
    columns = ColumnReader(SCHEMA, ["order_id", "created_at", "total_amount"])(
        encode_many(encoder(OrderCreated), ORDERS, b"12345"), 5
    )
    assert list(columns) == ["order_id", "created_at", "total_amount"]
    assert columns["order_id"].tolist() == [order.order_id for order in ORDERS]
    assert columns["total_amount"].tolist() == [order.total_amount for order in ORDERS]
    assert columns["created_at"].dtype == "datetime64[us]"
    assert columns["created_at"][0].item() == WIDE.at.replace(tzinfo=None)


def test_every_kind_of_field_has_its_kind_of_column() -> None:
    row = {
        "text": "grün",
        "whole": -(2**63),
        "small": 300,
        "real": 1.5,
        "single": 0.25,
        "yes": True,
        "raw": b"\x00\xff",
        "key": b"abc",
        "colour": "green",
        "at": datetime(2020, 1, 2, 3, 4, 5, 678901),
        "at_ms": datetime(2020, 1, 2),
        "day": datetime(2020, 1, 2).date(),
        "clock": datetime(2020, 1, 2, 3, 4).time(),
        "price": Decimal("-12.34"),
        "maybe": 5,
        "maybe_text": "here",
        "maybe_real": 0.5,
    }
    absent = row | {"maybe": None, "maybe_text": None, "maybe_real": None, "text": "", "colour": "red"}
    schema = record(FIELDS)
    naive = [
        dict(r, at=r["at"].replace(tzinfo=WIDE.at.tzinfo), at_ms=r["at_ms"].replace(tzinfo=WIDE.at.tzinfo))  # type: ignore[attr-defined]
        for r in (row, absent)
    ]
    columns = ColumnReader(schema, list(FIELDS))([oracle.write(r, schema) for r in naive])
    types = {name: str(array.dtype) for name, array in columns.items() if array.dtype != object}
    assert types == {
        "whole": "int64",
        "small": "int64",
        "real": "float64",
        "single": "float32",
        "yes": "bool",
        "at": "datetime64[us]",
        "at_ms": "datetime64[ms]",
        "day": "datetime64[D]",
        "clock": "timedelta64[ms]",
        "maybe": "int64",
        "maybe_real": "float64",
    }
    clock = columns.pop("clock")
    assert clock.tolist()[0].total_seconds() == 3 * 3600 + 4 * 60
    for name, array in columns.items():
        assert array.tolist() == [row[name], absent[name]], name
    assert np.ma.getmaskarray(columns["maybe"]).tolist() == [False, True]


def test_a_field_of_a_record_is_named_by_its_path() -> None:
    inner = {"type": "record", "name": "I", "fields": [{"name": "a", "type": "string"}, {"name": "b", "type": "long"}]}
    schema = record({"x": {"type": "array", "items": "string"}, "inner": inner, "y": "long"})
    payloads = [oracle.write({"x": ["q"] * i, "inner": {"a": str(i), "b": i}, "y": 0}, schema) for i in range(5)]
    columns = ColumnReader(schema, ["inner.b", "inner.a", "y"])(payloads)
    assert columns["inner.b"].tolist() == [0, 1, 2, 3, 4]
    assert columns["inner.a"].tolist() == list("01234")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nope", "has no field 'nope'. Its fields: order_id, customer_id"),
        ("items", "the writer has array there"),
        ("items.sku", "has array where 'sku' would lie"),
        ("order_id.x", "has string where 'x' would lie"),
    ],
)
def test_what_fits_no_column_is_refused_when_the_reader_is_made(path: str, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        ColumnReader(SCHEMA, [path])


def test_a_symbol_that_is_none_is_refused() -> None:
    schema = record({"colour": FIELDS["colour"]})
    with pytest.raises(DecodeError, match="index of a symbol"):
        ColumnReader(schema, ["colour"])([b"\x02", b"\x04"])


def test_a_decimal_of_no_bytes_is_zero() -> None:
    schema = record({"price": FIELDS["price"], "maybe": ["null", FIELDS["price"]]})
    columns = ColumnReader(schema, ["price", "maybe"])([b"\0\0", b"\0\2\0"])
    assert columns["price"].tolist() == [Decimal(0), Decimal(0)]
    assert columns["maybe"].tolist() == [None, Decimal(0)]


def test_no_payloads_give_empty_columns() -> None:
    columns = ColumnReader(record(FIELDS), list(FIELDS))([])
    assert {len(array) for array in columns.values()} == {0}


WIDE_COLUMNS = [
    "text",
    "whole",
    "real",
    "yes",
    "raw",
    "maybe",
    "color",
    "carrier",
    "money",
    "at",
    "day",
    "span",
    "ident",
]


@_settings
@given(st.lists(objects(record_shape(Wide)), max_size=5))
def test_columns_hold_what_decoding_gives(events: list[Wide]) -> None:
    payloads = [encoder(Wide)(event) for event in events]
    columns = ColumnReader(schema_text(Wide), WIDE_COLUMNS)(payloads)
    for name, array in columns.items():
        for i, event in enumerate(events):
            value = getattr(event, name)
            if name == "ident":
                value = str(value)
            if isinstance(value, Color | Carrier):
                value = value.value
            if isinstance(value, datetime):
                assert array[i] == np.datetime64(value.replace(tzinfo=None), "us")
            elif name == "span":
                assert array[i] == np.timedelta64(value)
            else:
                assert array[i] == value or (value != value and array[i] != array[i])


@_settings
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=3))
def test_random_bytes_fail_in_columns_as_they_fail_alone(payloads: list[bytes]) -> None:
    class Few(msgspec.Struct):
        text: str
        maybe: int | None
        color: Color

    schema = schema_text(Few)
    expected = [_failure(lambda payload=payload: generic_decoder(schema)(payload, 0)) for payload in payloads]
    found = _failure(lambda: ColumnReader(schema, ["text", "color", "maybe"])(payloads))
    assert found == next((failed for failed in expected if failed is not None), None)


def _failure(call: Any) -> int | None:
    try:
        call()
    except DecodeError as error:
        return error.position
    return None
