"""Whatever is written can be read, by Ottla and by fastavro, whoever wrote it."""

from __future__ import annotations

import struct
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottla.events.derivation import record_shape
from ottla.events.schema import schema_text
from ottla.serde.avro import decoder, encoder, generic_decoder
from ottla.serde.avro.varint import LONG, encode_long, read_big_long, read_long
from tests.serde import oracle
from tests.serde.samples import EVERY_KIND, WIDE, Node, OrderCreated, OrderItem, Wide
from tests.serde.strategies import instances, objects

_values = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
_slow_types = settings(_values, max_examples=100)


def decoded(data: bytes, cls: type) -> Any:
    return decoder(schema_text(cls), cls)(data, 0)


def test_every_type_comes_back_as_it_was() -> None:
    assert decoded(encoder(Wide)(WIDE), Wide) == WIDE


def test_every_type_is_read_by_fastavro() -> None:
    assert oracle.read(encoder(Wide)(WIDE), schema_text(Wide)) == oracle.plain_object(WIDE)


def test_every_type_is_read_from_fastavro() -> None:
    assert decoded(oracle.write_object(WIDE), Wide) == WIDE


@pytest.mark.parametrize("cls", EVERY_KIND)
def test_every_kind_of_class_comes_back_as_it_was(cls: type) -> None:
    for order in (cls(order_id="1", items=["a", "b"]), cls(order_id="1", items=[], note="n")):
        assert decoded(encoder(cls)(order), cls) == order


@_values
@given(objects(record_shape(Wide)))
def test_any_value_of_the_wide_record_round_trips(wide: Wide) -> None:
    data = encoder(Wide)(wide)
    assert decoded(data, Wide) == wide
    assert oracle.read(data, schema_text(Wide)) == oracle.plain_object(wide)


@_values
@given(objects(record_shape(OrderCreated)))
def test_any_order_round_trips_through_fastavro_in_both_directions(order: OrderCreated) -> None:
    data = encoder(OrderCreated)(order)
    assert data == oracle.write_object(order)
    assert oracle.read(data, schema_text(OrderCreated)) == oracle.plain_object(order)


@_values
@given(objects(record_shape(Node)))
def test_any_tree_round_trips(node: Node) -> None:
    data = encoder(Node)(node)
    assert decoded(data, Node) == node
    assert data == oracle.write_object(node)


@_slow_types
@given(instances())
def test_any_class_round_trips_through_fastavro_in_both_directions(value: Any) -> None:
    cls = type(value)
    schema = schema_text(cls)
    data = encoder(cls)(value)
    assert decoded(data, cls) == value
    assert oracle.read(data, schema) == oracle.plain_object(value)
    assert decoded(oracle.write_object(value), cls) == value


@_slow_types
@given(instances())
def test_any_class_reads_generically_as_fastavro_reads_it(value: Any) -> None:
    cls = type(value)
    data = encoder(cls)(value)
    ours = generic_decoder(schema_text(cls))(data, 0)
    # The one difference: fastavro does not know Ottla's logical type for spans.
    assert _spans_as_numbers(ours) == oracle.read(data, schema_text(cls))


def _spans_as_numbers(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if isinstance(value, dict):
        return {k: _spans_as_numbers(v) for k, v in value.items()}
    return [_spans_as_numbers(v) for v in value] if isinstance(value, list) else value


@_values
@given(st.floats())
def test_every_float_keeps_its_bits(real: float) -> None:
    item = decoded(encoder(OrderItem)(OrderItem("s", 1, real)), OrderItem)
    assert struct.pack("<d", item.price) == struct.pack("<d", real)


@_values
@given(st.integers(-(2**63), 2**63 - 1))
def test_every_whole_number_is_written_as_fastavro_writes_it(whole: int) -> None:
    data = oracle.write(whole, '"long"')
    assert encode_long(whole) == data
    assert LONG[whole] == data
    assert read_long(data, 0) == (whole, len(data))
    assert read_big_long(data + b"\x05", 0) == (whole, len(data))
