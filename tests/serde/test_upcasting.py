"""Events of older versions reach their class through its upcasters."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import pydantic
import pytest

from ottla.errors import DecodeError, EventDefinitionError
from ottla.events import avro_schema, event, schema_text, upcast
from ottla.serde.avro import decoder, encoder
from tests.serde import oracle
from tests.serde.samples import WIDE, Color, OrderItem


def split(old: dict[str, Any]) -> dict[str, Any]:
    first, _, last = old.pop("name").partition(" ")
    return {**old, "first": first, "last": last}


class Struct(msgspec.Struct):
    first: str
    last: str
    n: int = 7

    split = staticmethod(upcast(from_version=1)(split))


@dataclasses.dataclass
class Data:
    first: str
    last: str
    n: int = 7

    @staticmethod
    @upcast(from_version=1)
    def split(old: dict[str, Any]) -> dict[str, Any]:
        return split(old)


@attrs.define
class Attrs:
    first: str
    last: str
    n: int = 7

    @staticmethod
    @upcast(from_version=1)
    def split(old: dict[str, Any]) -> dict[str, Any]:
        return split(old)


class Model(pydantic.BaseModel):
    first: str
    last: str
    n: int = 7

    @staticmethod
    @upcast(from_version=1)
    def split(old: dict[str, Any]) -> dict[str, Any]:
        return split(old)


OLD = '{"type":"record","name":"Person","fields":[{"name":"name","type":"string"}]}'


@pytest.mark.parametrize("cls", [Struct, Data, Attrs, Model])
def test_an_older_version_is_read_through_its_upcaster(cls: Any) -> None:
    declared: Any = event("people", name="Person", version=2)(cls)
    data = oracle.write({"name": "Ottla Kafka"}, OLD)
    assert decoder(OLD, declared)(data, 0) == cls(first="Ottla", last="Kafka", n=7)
    current = cls(first="O", last="K", n=1)
    assert decoder(schema_text(declared), declared)(encoder(declared)(current), 0) == current


def test_the_version_stands_in_the_schema_from_two_on() -> None:
    @event("t", version=2)
    class Second(msgspec.Struct):
        n: int

    @event("t")
    class First(msgspec.Struct):
        n: int

    assert avro_schema(Second)["ottla.version"] == 2
    assert "ottla.version" not in avro_schema(First)


@event("steps", version=4)
class Steps(msgspec.Struct):
    trace: list[str]

    @staticmethod
    @upcast(from_version=3)
    def third(old: dict[str, Any]) -> dict[str, Any]:
        return {"trace": [*old["trace"], "third"]}

    @staticmethod
    @upcast(from_version=1)
    def first(old: dict[str, Any]) -> dict[str, Any]:
        return {"trace": [*old["trace"], "first"]}


@pytest.mark.parametrize(
    ("version", "trace"), [(1, ["first", "third"]), (2, ["third"]), (3, ["third"]), (4, []), (5, [])]
)
def test_upcasters_run_in_order_from_the_writers_version_on(version: int, trace: list[str]) -> None:
    schema = json.dumps(avro_schema(Steps) | {"ottla.version": version})
    data = oracle.write({"trace": []}, schema_text(Steps))
    assert decoder(schema, Steps)(data, 0) == Steps(trace)


@event("rich", namespace="shop", version=2)
class Rich(msgspec.Struct):
    items: list[OrderItem]
    color: Color
    total: Decimal
    at: datetime | None
    by_sku: dict[str, OrderItem]
    either: int | OrderItem

    @staticmethod
    @upcast(from_version=1)
    def add_total(old: dict[str, Any]) -> dict[str, Any]:
        old["total"] = Decimal(sum(item["quantity"] for item in old["items"]))
        old["by_sku"] = {item["sku"]: OrderItem(**item) for item in old["items"]}
        old["either"] = old["items"][0]
        return old


def test_records_enums_and_logical_types_become_the_classes_own() -> None:
    full = avro_schema(Rich)
    fields = [field for field in full["fields"] if field["name"] in ("items", "color", "at")]
    writer = json.dumps({"type": "record", "name": "Rich", "namespace": "shop", "fields": fields})
    item = {"sku": "a", "quantity": 2, "price": 0.5}
    data = oracle.write({"items": [item], "color": "green", "at": WIDE.at}, writer)
    one = OrderItem("a", 2, 0.5)
    assert decoder(writer, Rich)(data, 0) == Rich([one], Color.GREEN, Decimal(2), WIDE.at, {"a": one}, one)


@event("bad", version=3)
class Bad(msgspec.Struct):
    n: int

    @staticmethod
    @upcast(from_version=1)
    def fails(old: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("gone")

    @staticmethod
    @upcast(from_version=2)
    def misses(old: dict[str, Any]) -> dict[str, Any]:
        return {"n": "text"} if old["m"] else {}


def bad(version: int, m: int) -> str:
    fields = [{"name": "m", "type": "long"}]
    schema = json.dumps({"type": "record", "name": "Bad", "fields": fields, "ottla.version": version})
    with pytest.raises(DecodeError) as caught:
        decoder(schema, Bad)(oracle.write({"m": m}, schema), 0)
    assert caught.value.position == 0
    return str(caught.value)


def test_an_upcaster_that_fails_or_gives_what_does_not_fit_is_a_decode_error() -> None:
    assert "its upcaster fails failed with KeyError: 'gone'" in bad(1, 0)
    assert "upcasters (misses) give does not fit the class: Bad.n cannot be 'text' (str)" in bad(2, 1)
    assert "Bad.n is missing and has no default" in bad(2, 0)


def test_damaged_bytes_of_an_older_version_are_a_decode_error() -> None:
    declared = event("people", name="Person", version=2)(Struct)
    with pytest.raises(DecodeError, match="left over"):
        decoder(OLD, declared)(oracle.write({"name": "x"}, OLD) + b"\0", 0)


@pytest.mark.parametrize("version", [0, -1, "2"])
def test_a_version_that_is_none_is_refused(version: Any) -> None:
    with pytest.raises(EventDefinitionError, match="version"):
        event("t", version=version)(Data)
