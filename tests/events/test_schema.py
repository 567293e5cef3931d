"""The Avro schema derived from Python types."""

from __future__ import annotations

import collections
import dataclasses
import enum
import json
import typing
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union
from uuid import UUID, uuid4

import attrs
import fastavro
import msgspec
import pydantic
import pytest

from ottla.errors import EventDefinitionError
from ottla.events import Digits, FormerNames, avro_schema, event
from ottla.events.schema import schema_text

T = TypeVar("T")
OrderId = NewType("OrderId", str)
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 9}


class Color(Enum):
    RED = "red"
    GREEN = "green"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Label(StrEnum):
    NEW = "brand new"
    OLD = "old"


class Shade(Enum):
    __ottla_default__ = "OTHER"
    OTHER = "other"
    DARK = "dark"


@dataclasses.dataclass
class Item:
    sku: str


def one(hint: Any, **options: Any) -> type:
    """A class `Holder` with one field `v`."""
    default = [dataclasses.field(**options)] if options else []
    return dataclasses.make_dataclass("Holder", [("v", hint, *default)])


def field(hint: Any, **options: Any) -> dict[str, Any]:
    """The schema of a field, checked by fastavro."""
    schema = avro_schema(one(hint, **options))
    fastavro.parse_schema(json.loads(json.dumps(schema)))
    found: dict[str, Any] = schema["fields"][0]
    return found


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (str, "string"),
        (int, "long"),
        (float, "double"),
        (bool, "boolean"),
        (bytes, "bytes"),
        (None, "null"),
        (OrderId, "string"),
        (Annotated[int, msgspec.Meta(ge=0)], "long"),
        (Decimal, DECIMAL),
        (Annotated[Decimal, Digits(12, 2)], {**DECIMAL, "precision": 12, "scale": 2}),
        (Annotated[Decimal, pydantic.Field(max_digits=8, decimal_places=3)], {**DECIMAL, "precision": 8, "scale": 3}),
        (datetime, {"type": "long", "logicalType": "timestamp-micros"}),
        (date, {"type": "int", "logicalType": "date"}),
        (time, {"type": "long", "logicalType": "time-micros"}),
        (timedelta, {"type": "long", "logicalType": "timedelta-micros"}),
        (UUID, {"type": "string", "logicalType": "uuid"}),
        (list[int], {"type": "array", "items": "long"}),
        (typing.List[int], {"type": "array", "items": "long"}),  # noqa: UP006
        (tuple[int, ...], {"type": "array", "items": "long"}),
        (set[str], {"type": "array", "items": "string"}),
        (frozenset[str], {"type": "array", "items": "string"}),
        (Sequence[str], {"type": "array", "items": "string"}),
        (dict[str, int], {"type": "map", "values": "long"}),
        (Mapping[OrderId, list[bool]], {"type": "map", "values": {"type": "array", "items": "boolean"}}),
        (str | None, ["null", "string"]),
        (Optional[str], ["null", "string"]),  # noqa: UP045
        (Union[int, None, str], ["null", "long", "string"]),  # noqa: UP007
        (Literal["a"] | Literal["b"], {"type": "enum", "name": "HolderV", "symbols": ["a", "b"]}),
        (Literal["a", None], ["null", {"type": "enum", "name": "HolderV", "symbols": ["a"]}]),
        (Literal["not a name", "b"], "string"),
        (Literal[1, 2], "long"),
        (Color, {"type": "enum", "name": "Color", "symbols": ["red", "green"]}),
        (Size, {"type": "enum", "name": "Size", "symbols": ["SMALL", "LARGE"]}),
        (Label, {"type": "enum", "name": "Label", "symbols": ["NEW", "OLD"]}),
        (Shade, {"type": "enum", "name": "Shade", "symbols": ["other", "dark"], "default": "other"}),
        (Item, {"type": "record", "name": "Item", "fields": [{"name": "sku", "type": "string"}]}),
    ],
)
def test_a_type_has_its_schema(hint: Any, expected: Any) -> None:
    assert field(hint) == {"name": "v", "type": expected}


def test_pydantics_digits_count() -> None:
    class Priced(pydantic.BaseModel):
        v: Decimal = pydantic.Field(max_digits=8, decimal_places=3)

    assert avro_schema(Priced)["fields"][0]["type"] == {**DECIMAL, "precision": 8, "scale": 3}


@pytest.mark.parametrize(
    ("hint", "default", "expected"),
    [
        (str, "x", "x"),
        (int, 5, 5),
        (float, 1, 1.0),
        (bool, True, True),
        (bytes, b"\x00\xff", "\x00\xff"),
        (Decimal, Decimal("-1.5"), (-1_500_000_000).to_bytes(4, "big", signed=True).decode("latin-1")),
        (datetime, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), 1_000_000),
        (date, date(1970, 1, 3), 2),
        (time, time(0, 0, 1), 1_000_000),
        (timedelta, timedelta(seconds=-1), -1_000_000),
        (UUID, UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Color, Color.GREEN, "green"),
        (Size, Size.LARGE, "LARGE"),
        (Literal["a", "b"], "b", "b"),
        (str | None, None, None),
    ],
)
def test_a_default_is_in_the_schema(hint: Any, default: Any, expected: Any) -> None:
    found = field(hint, default=default)
    assert found["default"] == expected
    assert type(found["default"]) is type(expected)


def test_empty_containers_are_defaults() -> None:
    assert field(list[int], default_factory=list)["default"] == []
    assert field(dict[str, int], default_factory=dict)["default"] == {}


def test_a_record_can_be_a_default() -> None:
    assert field(Item, default_factory=lambda: Item("x")).keys() == {"name", "type"}
    holder = attrs.make_class("Holder", {"v": attrs.field(type=Item, default=Item("x"))})
    assert avro_schema(holder)["fields"][0]["default"] == {"sku": "x"}


def test_what_a_factory_makes_is_not_in_the_schema() -> None:
    assert "default" not in field(UUID, default_factory=uuid4)


def test_the_branch_of_the_default_comes_first_in_a_union() -> None:
    assert field(str | None, default="x") == {"name": "v", "type": ["string", "null"], "default": "x"}
    assert field(int | str | None, default="x")["type"] == ["string", "null", "long"]


def test_a_default_that_does_not_fit_is_refused() -> None:
    for hint, default in ((str, None), (int, "5"), (datetime, datetime(2020, 1, 1)), (float, float("nan"))):
        with pytest.raises(EventDefinitionError, match=r"Holder\.v: the default .* does not fit"):
            avro_schema(one(hint, default=default))


def test_former_names_are_aliases() -> None:
    assert field(Annotated[str, FormerNames("a", "b")])["aliases"] == ["a", "b"]


def test_fields_renamed_by_msgspec_or_pydantic_have_their_new_names() -> None:
    class Camel(msgspec.Struct, rename="camel"):
        order_id: str

    class Aliased(pydantic.BaseModel):
        order_id: str = pydantic.Field(alias="orderId")

    for cls in (Camel, Aliased):
        assert avro_schema(cls)["fields"] == [{"name": "orderId", "type": "string"}]


class Inner(msgspec.Struct):
    color: Color


@event("t", namespace="shop", name="Order")
class Outer(msgspec.Struct):
    first: Inner
    second: Inner | None
    colors: list[Color]


def test_nested_types_share_the_namespace_and_are_spelled_out_once() -> None:
    color = {"type": "enum", "name": "Color", "symbols": ["red", "green"]}
    assert avro_schema(Outer) == {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [
            {
                "name": "first",
                "type": {"type": "record", "name": "Inner", "fields": [{"name": "color", "type": color}]},
            },
            {"name": "second", "type": ["null", "Inner"]},
            {"name": "colors", "type": {"type": "array", "items": "Color"}},
        ],
    }


@event("t", namespace="other")
@dataclasses.dataclass
class Shared:
    item: Item


@event("t", namespace="shop")
@dataclasses.dataclass
class Sharing:
    shared: Shared
    again: list[Shared]
    item: Item


def test_a_nested_event_keeps_its_own_namespace() -> None:
    schema = avro_schema(Sharing)
    assert schema["fields"][0]["type"]["namespace"] == "other"
    assert schema["fields"][1]["type"]["items"] == "other.Shared"
    assert schema["fields"][2]["type"] == "other.Item"
    fastavro.parse_schema(schema)


@dataclasses.dataclass
class Tree:
    value: int
    parent: Tree | None
    children: list[Tree]


def test_a_recursive_class_refers_to_itself() -> None:
    fields = avro_schema(Tree)["fields"]
    assert fields[1]["type"] == ["null", "Tree"]
    assert fields[2]["type"] == {"type": "array", "items": "Tree"}


def test_the_python_module_is_nowhere_in_a_schema() -> None:
    for cls in (Outer, Sharing, Tree):
        assert cls.__module__ not in schema_text(cls)
        assert cls.__module__.rpartition(".")[2] not in schema_text(cls)


def test_a_schema_given_out_can_be_changed_without_harm() -> None:
    avro_schema(Tree)["fields"].clear()
    assert avro_schema(Tree)["fields"]


class Pair(NamedTuple):
    a: int


class Typed(TypedDict):
    a: int


class Box(msgspec.Struct, Generic[T]):
    v: T


class Perms(enum.Flag):
    R = 1


class Bare:
    pass


@pytest.mark.parametrize(
    ("hint", "shown", "instead"),
    [
        (Any, "Any", "name the type"),
        (object, "object", "name the type"),
        (complex, "complex", "two float fields"),
        (bytearray, "bytearray", "bytes"),
        (list, "list", r"list\[str\]"),
        (dict, "dict", r"dict\[str, int\]"),
        (tuple[int, str], r"tuple\[int, str\]", "a class with named fields"),
        (dict[int, str], r"dict\[int, str\]", r"dict\[str"),
        (list[None], "list", "an int that counts them"),
        (str | UUID, "str", "types that differ in Avro"),
        (int | datetime, "int", "types that differ in Avro"),
        (list[int] | list[str], "list", "types that differ in Avro"),
        (bytes | Decimal, "bytes", "types that differ in Avro"),
        (Literal[1, "a"], "Literal", "Literal of strings only"),
        (Literal[b"x"], "Literal", "Literal of strings only"),
        (Perms, "Perms", "an int"),
        (T, "T", "a concrete type"),
        (Box[int], "Box", "without type parameters"),
        (Pair, "Pair", "a dataclass or msgspec.Struct with the same fields"),
        (Typed, "Typed", "a dataclass or msgspec.Struct with the same fields"),
        (Bare, "Bare", "a dataclass, msgspec.Struct"),
        (typing.Callable[[], int], "Callable", "a class with fields"),
        (collections.deque, "deque", "list"),
    ],
)
def test_a_type_without_a_schema_is_refused_with_what_to_use_instead(hint: Any, shown: str, instead: str) -> None:
    with pytest.raises(EventDefinitionError, match=f"Holder.v: no schema can be derived from .*{shown}.*: .*{instead}"):
        avro_schema(one(hint))


def test_a_fault_deep_inside_names_its_own_class_and_field() -> None:
    with pytest.raises(EventDefinitionError, match=r"^Holder\.v: .*complex"):
        avro_schema(dataclasses.make_dataclass("Top", [("x", list[one(complex)])]))  # type: ignore[misc]


def test_two_types_of_one_name_are_refused() -> None:
    other = dataclasses.make_dataclass("Item", [("x", int)])
    with pytest.raises(EventDefinitionError, match="both called 'Item'"):
        avro_schema(dataclasses.make_dataclass("Top", [("a", Item), ("b", other)]))


def test_two_fields_of_one_name_are_refused() -> None:
    class Twice(pydantic.BaseModel):
        a: int = pydantic.Field(serialization_alias="x")
        b: int = pydantic.Field(serialization_alias="x")

    with pytest.raises(EventDefinitionError, match="share the name 'x'"):
        avro_schema(Twice)


def test_a_hint_that_names_nothing_is_refused() -> None:
    with pytest.raises(EventDefinitionError, match="names 'Missing', which is not defined at the top level"):
        avro_schema(one("Missing"))


def test_a_field_name_avro_would_refuse_is_refused() -> None:
    with pytest.raises(EventDefinitionError, match="field 'größe' is not a name Avro allows"):
        avro_schema(dataclasses.make_dataclass("Holder", [("größe", int)]))


def test_a_class_without_fields_has_no_schema() -> None:
    with pytest.raises(EventDefinitionError, match="not a dataclass"):
        avro_schema(int)


def test_an_init_var_is_refused() -> None:
    cls = dataclasses.make_dataclass("Holder", [("v", int), ("seed", dataclasses.InitVar[int])])
    with pytest.raises(EventDefinitionError, match="InitVar"):
        avro_schema(cls)


def test_fields_the_constructor_does_not_take_are_left_out() -> None:
    @dataclasses.dataclass
    class Sum:
        a: int
        total: int = dataclasses.field(init=False)

    assert [f["name"] for f in avro_schema(Sum)["fields"]] == ["a"]


def test_digits_that_make_no_sense_are_refused() -> None:
    for precision, scale in ((0, 0), (5, 6), (5, -1)):
        with pytest.raises(EventDefinitionError, match="precision must be"):
            Digits(precision, scale)
