"""`@event` notes topic, key and name on a class, and refuses what Kafka or Avro would refuse later."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest

from ottla.errors import EventDefinitionError
from ottla.events import event, event_type


class Region(Enum):
    EU = "eu"


@dataclasses.dataclass
class Data:
    id: Any


class Struct(msgspec.Struct, frozen=True):
    id: Any


class Model(pydantic.BaseModel):
    id: Any


@attrs.define
class Attrs:
    id: Any


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    id: Any


def plain(name: str = "Plain") -> type:
    return dataclasses.make_dataclass(name, [("id", str)])


@pytest.mark.parametrize("cls", [Data, Struct, Model, Attrs, Slotted])
def test_every_kind_of_class_can_be_an_event(cls: Any) -> None:
    assert event("topic", key="id", namespace="shop")(cls) is cls
    declared = event_type(cls)
    assert (declared.cls, declared.topic, declared.key, declared.name) == (cls, "topic", "id", f"shop.{cls.__name__}")
    assert event_type(cls(id="x")) is declared
    assert declared.key_of(cls(id="x")) == b"x"


def test_the_name_is_the_classs_unless_another_is_given() -> None:
    assert event_type(event("t")(plain())).name == "Plain"
    assert event_type(event("t", name="Other")(plain())).name == "Other"
    assert event_type(event("t", name="Other", namespace="a.b")(plain())).name == "a.b.Other"


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("grün", "grün".encode()),
        (7, b"7"),
        (UUID(int=1), b"00000000-0000-0000-0000-000000000001"),
        (Region.EU, b"eu"),
        (b"\xff", b"\xff"),
        (None, None),
        ("", b""),
    ],
)
def test_the_key_is_the_fields_value_as_text(value: Any, key: bytes | None) -> None:
    declared = event_type(event("t", key="id")(dataclasses.make_dataclass("Keyed", ["id"])))
    assert declared.key_of(declared.cls(value)) == key


def test_an_event_without_a_key_field_has_no_key() -> None:
    declared = event_type(event("t")(plain()))
    assert declared.key_of(declared.cls("x")) is None


@pytest.mark.parametrize("cls", [int, Region, type("Bare", (), {}), lambda: None])
def test_a_class_without_fields_cannot_be_an_event(cls: Any) -> None:
    with pytest.raises(EventDefinitionError, match="put @event above @dataclass"):
        event("t")(cls)


def test_a_key_that_is_no_field_is_refused_with_the_fields_there_are() -> None:
    with pytest.raises(EventDefinitionError, match=r"key 'order' is not a field. Its fields: id"):
        event("t", key="order")(plain())


@pytest.mark.parametrize("topic", ["", ".", "..", "a b", "ä", "x" * 250, "a/b", None, plain])
def test_a_topic_kafka_would_refuse_is_refused(topic: Any) -> None:
    with pytest.raises(EventDefinitionError, match="not a topic name"):
        event(topic)(plain())


@pytest.mark.parametrize(
    "names", [{"name": "Order-Created"}, {"namespace": "1shop"}, {"name": "Ö"}, {"namespace": "a..b"}]
)
def test_a_name_avro_would_refuse_is_refused(names: dict[str, str]) -> None:
    with pytest.raises(EventDefinitionError, match="not a name Avro allows"):
        event("t", **names)(plain())


def test_a_class_that_was_not_declared_is_told_how() -> None:
    for undeclared in (Region, plain(), plain()("x"), 5):
        with pytest.raises(EventDefinitionError, match=r"is not an event type.*Declare it"):
            event_type(undeclared)


def test_a_subclass_needs_its_own_declaration() -> None:
    base: type = event("t")(plain())
    derived = dataclasses.make_dataclass("Derived", [], bases=(base,))
    with pytest.raises(EventDefinitionError, match="its base Plain is one, but a subclass needs its own"):
        event_type(derived)
    assert event_type(event("u")(derived)).topic == "u"
    assert event_type(base).topic == "t"
