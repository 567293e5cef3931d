"""The deserializer tells bad records (DecodeError) from an absent registry, and remembers what ids mean."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from ottla.errors import DecodeError, RegistryRejected, RegistryUnavailable
from ottla.events.schema import schema_text
from ottla.serde import Deserializer, Serializer, wire
from ottla.serde.avro import encoder
from tests.serde.memory_registry import MemoryRegistry
from tests.serde.samples import WIDE, Address, OrderCreated, OrderItem

ORDER = OrderCreated("o-1", "c-1", Decimal("12.5"), WIDE.at, [OrderItem("a", 2, 1.25)])


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


@pytest.fixture
def value(registry: MemoryRegistry) -> bytes:
    registry.add('"string"')
    return Serializer(registry).encode(ORDER, "order-events")


def test_an_event_comes_back(registry: MemoryRegistry, value: bytes) -> None:
    assert Deserializer(registry).decode(value, OrderCreated) == ORDER


def test_the_record_name_is_the_writers_full_name(registry: MemoryRegistry, value: bytes) -> None:
    deserializer = Deserializer(registry)
    assert deserializer.record_name(value) == "shop.OrderCreated"
    assert deserializer.record_name(wire.frame(1, b"\x02x")) == "string"


def test_the_registry_is_asked_once_for_an_id(registry: MemoryRegistry, value: bytes) -> None:
    deserializer = Deserializer(registry)
    deserializer.record_name(value)
    deserializer.decode(value, OrderCreated)
    deserializer.decode_to_dict(value)
    registry.down = True
    assert deserializer.record_name(value) == "shop.OrderCreated"
    assert deserializer.decode(value, OrderCreated) == ORDER
    assert deserializer.decode_to_dict(value)["order_id"] == "o-1"


def test_a_value_is_read_without_its_class(registry: MemoryRegistry, value: bytes) -> None:
    assert Deserializer(registry).decode_to_dict(value) == {
        "order_id": "o-1",
        "customer_id": "c-1",
        "total_amount": Decimal("12.5"),
        "created_at": WIDE.at,
        "items": [{"sku": "a", "quantity": 2, "price": 1.25}],
    }


def test_logical_types_are_python_values_without_a_class(registry: MemoryRegistry) -> None:
    found = Deserializer(registry).decode_to_dict(Serializer(registry).encode(WIDE, "t"))
    for name in ("money", "price", "at", "day", "clock", "span", "ident", "when"):
        assert found[name] == getattr(WIDE, name)
        assert type(found[name]) is type(getattr(WIDE, name))
    assert found["color"] == "green"
    assert found["target"] == {"shop": 7}


def test_a_local_timestamp_has_no_zone(registry: MemoryRegistry) -> None:
    schema_id = registry.add('{"type": "long", "logicalType": "local-timestamp-millis"}')
    assert Deserializer(registry).decode_to_dict(wire.frame(schema_id, b"\xd0\x0f")) == datetime(1970, 1, 1, 0, 0, 1)


@pytest.mark.parametrize("value", [None, b"", b"\0\0\0\1", b"\x01\0\0\0\1abc", b"not avro at all"])
def test_a_value_not_in_wire_form_is_a_decode_error(registry: MemoryRegistry, value: Any) -> None:
    deserializer = Deserializer(registry)
    for read in (
        lambda: deserializer.record_name(value),
        lambda: deserializer.decode(value, OrderCreated),
        lambda: deserializer.decode_to_dict(value),
    ):
        with pytest.raises(DecodeError):
            read()
    assert registry.calls == []


def test_an_unknown_schema_id_is_a_decode_error_that_names_it(registry: MemoryRegistry) -> None:
    deserializer = Deserializer(registry)
    for read in (
        lambda: deserializer.record_name(wire.frame(77, b"x")),
        lambda: deserializer.decode(wire.frame(77, b"x"), OrderCreated),
        lambda: deserializer.decode_to_dict(wire.frame(77, b"x")),
    ):
        with pytest.raises(DecodeError, match="knows no schema with this id") as caught:
            read()
        assert caught.value.schema_id == 77


def test_an_unknown_schema_id_is_asked_again(registry: MemoryRegistry) -> None:
    deserializer = Deserializer(registry)
    with pytest.raises(DecodeError):
        deserializer.record_name(wire.frame(1, b"x"))
    registry.add(schema_text(Address))
    assert deserializer.record_name(wire.frame(1, b"x")) == "Address"


def test_a_registry_that_is_away_is_no_decode_error(registry: MemoryRegistry, value: bytes) -> None:
    registry.down = True
    deserializer = Deserializer(registry)
    for read in (
        lambda: deserializer.record_name(value),
        lambda: deserializer.decode(value, OrderCreated),
        lambda: deserializer.decode_to_dict(value),
    ):
        with pytest.raises(RegistryUnavailable):
            read()


def test_a_registry_that_denies_access_is_no_decode_error(registry: MemoryRegistry, value: bytes) -> None:
    registry.refuse = RegistryRejected("forbidden", status=403, code=40301)
    with pytest.raises(RegistryRejected):
        Deserializer(registry).decode(value, OrderCreated)


def test_damage_is_told_with_the_schema_id_and_the_byte(registry: MemoryRegistry, value: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        Deserializer(registry).decode(value[:20], OrderCreated)
    assert caught.value.schema_id == 2
    assert caught.value.position == 20
    assert str(caught.value.at("order-events", 1, 42)).endswith(
        "(topic order-events, partition 1, offset 42, schema id 2, byte 20)"
    )


def test_bytes_left_over_are_refused(registry: MemoryRegistry, value: bytes) -> None:
    deserializer = Deserializer(registry)
    with pytest.raises(DecodeError, match="left over"):
        deserializer.decode(value + b"\0", OrderCreated)
    with pytest.raises(DecodeError, match="left over"):
        deserializer.decode_to_dict(value + b"\0")


def test_a_schema_that_is_none_is_a_decode_error(registry: MemoryRegistry) -> None:
    value = wire.frame(registry.add('syntax = "proto3";'), b"")
    with pytest.raises(DecodeError, match="not an Avro schema") as caught:
        Deserializer(registry).record_name(value)
    assert caught.value.schema_id == 1


def test_one_class_reads_what_several_schemas_wrote(registry: MemoryRegistry) -> None:
    old = '{"type":"record","name":"Address","fields":[{"name":"street","type":"string"}]}'
    deserializer = Deserializer(registry)
    assert deserializer.decode(wire.frame(registry.add(old), b"\x02s"), Address) == Address("s")
    new = wire.frame(registry.add(schema_text(Address)), encoder(Address)(Address("s", "1")))
    assert deserializer.decode(new, Address) == Address("s", "1")


def test_many_values_are_read_at_once_whatever_their_schemas(registry: MemoryRegistry) -> None:
    old = '{"type":"record","name":"Address","fields":[{"name":"street","type":"string"}]}'
    first, second = registry.add(old), registry.add(schema_text(Address))
    values = [wire.frame(first, b"\x02a"), wire.frame(first, b"\x02b"), wire.frame(second, b"\x02c\x021")] * 3
    deserializer = Deserializer(registry)
    assert deserializer.decode_many(values, Address) == [Address("a"), Address("b"), Address("c", "1")] * 3
    assert deserializer.decode_many([], Address) == []


@pytest.mark.parametrize(
    ("bad", "schema_id"), [(b"\0\0\0\0\1\x04a", 1), (b"\0\0\0\0\x09a", 9), (b"x", None), (None, None)]
)
def test_the_one_of_many_values_that_is_bad_is_named(registry: MemoryRegistry, bad: Any, schema_id: int | None) -> None:
    good = wire.frame(registry.add(schema_text(Address)), b"\x02a\0")
    with pytest.raises(DecodeError) as caught:
        Deserializer(registry).decode_many([good, good, bad, good], Address)
    assert caught.value.index == 2
    assert caught.value.schema_id == schema_id
