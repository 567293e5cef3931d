"""The serializer asks the registry once for each class and topic, and passes its answers on."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ottla.errors import EncodeError, EventDefinitionError, RegistryRejected, RegistryUnavailable
from ottla.events import avro_schema
from ottla.serde import Serializer, subject, wire
from tests.serde import oracle
from tests.serde.memory_registry import MemoryRegistry
from tests.serde.samples import WIDE, Address, OrderCreated, OrderItem, PlainOrder

ORDER = OrderCreated("o-1", "c-1", WIDE.money, WIDE.at, [OrderItem("a", 2, 1.25)])


def test_an_event_is_written_in_wire_form_with_the_id_the_registry_gave() -> None:
    registry = MemoryRegistry()
    registry.add('"string"')
    value = Serializer(registry).encode(ORDER, "order-events")
    assert wire.schema_id(value) == 2
    assert oracle.read(value[5:], registry.schemas[1])["order_id"] == "o-1"


def test_the_subject_is_the_topic_and_the_full_record_name() -> None:
    registry = MemoryRegistry()
    Serializer(registry).encode(ORDER, "order-events")
    assert list(registry.subjects) == ["order-events-shop.OrderCreated"]
    assert subject(PlainOrder, "t") == "t-PlainOrder"


def test_the_registered_schema_is_the_derived_one() -> None:
    registry = MemoryRegistry()
    Serializer(registry).encode(ORDER, "order-events")
    assert json.loads(registry.schemas[0]) == avro_schema(OrderCreated)


def test_the_registry_is_asked_once_for_a_class_and_a_topic() -> None:
    registry = MemoryRegistry()
    serializer = Serializer(registry)
    for topic in ("a", "b", "a", "b"):
        serializer.encode(ORDER, topic)
    assert [call for call, _ in registry.calls] == ["register", "register"]
    registry.down = True
    assert serializer.encode(ORDER, "a")


def test_without_auto_register_the_schema_is_only_looked_up() -> None:
    registry = MemoryRegistry()
    serializer = Serializer(registry, auto_register=False)
    with pytest.raises(RegistryRejected) as caught:
        serializer.encode(ORDER, "a")
    assert caught.value.code == 40403
    Serializer(registry).encode(ORDER, "a")
    assert wire.schema_id(serializer.encode(ORDER, "a")) == 1


def test_a_registry_that_is_away_is_told_and_asked_again() -> None:
    registry = MemoryRegistry()
    registry.down = True
    serializer = Serializer(registry)
    with pytest.raises(RegistryUnavailable):
        serializer.encode(ORDER, "a")
    registry.down = False
    assert serializer.encode(ORDER, "a")


def test_an_incompatible_schema_is_told_as_the_registry_told_it() -> None:
    registry = MemoryRegistry()
    registry.refuse = RegistryRejected("incompatible", status=409, code=40901)
    with pytest.raises(RegistryRejected, match="incompatible"):
        Serializer(registry).encode(ORDER, "a")


def test_a_bad_event_is_an_encode_error() -> None:
    with pytest.raises(EncodeError, match=r"street: expected str"):
        Serializer(MemoryRegistry()).encode(Address(5), "a")  # type: ignore[arg-type]


def test_a_class_without_a_schema_is_refused_before_the_registry_is_asked() -> None:
    @dataclasses.dataclass
    class Odd:
        z: complex

    registry = MemoryRegistry()
    with pytest.raises(EventDefinitionError, match="complex"):
        Serializer(registry).encode(Odd(1j), "a")
    assert registry.calls == []
