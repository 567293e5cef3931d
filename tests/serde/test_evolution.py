"""A reader's class may differ from the writer's schema. fastavro's resolution is the second opinion."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import attrs
import msgspec
import pydantic
import pytest

from ottla.errors import DecodeError
from ottla.events import FormerNames
from ottla.events.schema import schema_text
from ottla.serde.avro import decoder
from tests.serde import oracle

ADDRESS = {"type": "record", "name": "Address", "fields": [{"name": "street", "type": "string"}]}


def record(name: str, **fields: Any) -> str:
    return json.dumps({"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields.items()]})


def decoded(writer: str, value: Any, cls: type) -> Any:
    return decoder(writer, cls)(oracle.write(value, writer), 0)


class Color(Enum):
    RED = "red"
    GREEN = "green"


class Shade(Enum):
    __ottla_default__ = "OTHER"
    OTHER = "other"
    RED = "red"


@dataclasses.dataclass
class Address:
    street: str


@dataclasses.dataclass
class Text:
    v: str


@dataclasses.dataclass
class Raw:
    v: bytes


@dataclasses.dataclass
class Whole:
    v: int


@dataclasses.dataclass
class Real:
    v: float


@dataclasses.dataclass
class Reals:
    v: list[float]


@dataclasses.dataclass
class RealMap:
    v: dict[str, float]


@dataclasses.dataclass
class MaybeText:
    v: str | None


@dataclasses.dataclass
class MaybeReal:
    v: float | None


@dataclasses.dataclass
class Either:
    v: int | str | Address


@dataclasses.dataclass
class Painted:
    v: Color


@dataclasses.dataclass
class Shaded:
    v: Shade


@dataclasses.dataclass
class Renamed:
    street: Annotated[str, FormerNames("road", "way")]


@dataclasses.dataclass
class Nested:
    v: Address
    n: int = 7


@dataclasses.dataclass
class Tree:
    v: int
    children: list[Tree] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class At:
    v: datetime


@dataclasses.dataclass
class Day:
    v: date


@dataclasses.dataclass
class Money:
    v: Decimal


@dataclasses.dataclass
class Ident:
    v: UUID


@dataclasses.dataclass
class Span:
    v: timedelta


@dataclasses.dataclass
class Grade:
    v: Literal["not a name", "b"]


NULL_OR = ["null", "string"]
TREE = json.dumps(
    {
        "type": "record",
        "name": "Tree",
        "fields": [
            {"name": "v", "type": "int"},
            {"name": "note", "type": ["null", "Tree"]},
            {"name": "children", "type": {"type": "array", "items": "Tree"}},
        ],
    }
)
_LEAF: dict[str, Any] = {"v": 2, "note": None, "children": []}


@pytest.mark.parametrize(
    ("writer", "value", "cls"),
    [
        (record("Whole", v="int"), {"v": -3}, Whole),
        (record("Real", v="int"), {"v": -3}, Real),
        (record("Real", v="long"), {"v": 2**40}, Real),
        (record("Real", v="float"), {"v": 0.5}, Real),
        (record("Text", v="bytes"), {"v": "grün".encode()}, Text),
        (record("Raw", v="string"), {"v": "grün"}, Raw),
        (record("Reals", v={"type": "array", "items": "int"}), {"v": [1, 2, 300]}, Reals),
        (record("RealMap", v={"type": "map", "values": "long"}), {"v": {"a": 1, "b": -1}}, RealMap),
        (record("MaybeText", v="string"), {"v": "x"}, MaybeText),
        (record("MaybeText", v="null"), {"v": None}, MaybeText),
        (record("MaybeText", v=["string", "null"]), {"v": None}, MaybeText),
        (record("MaybeText", v=["string", "null"]), {"v": "x"}, MaybeText),
        (record("MaybeReal", v=["null", "int"]), {"v": 3}, MaybeReal),
        (record("MaybeReal", v="int"), {"v": 3}, MaybeReal),
        (record("Text", v=NULL_OR), {"v": "x"}, Text),
        (record("Either", v="string"), {"v": "x"}, Either),
        (record("Either", v="int"), {"v": 5}, Either),
        (record("Either", v=ADDRESS), {"v": {"street": "s"}}, Either),
        (record("Either", v=["string", ADDRESS, "int"]), {"v": {"street": "s"}}, Either),
        (record("Either", v=["string", ADDRESS, "int"]), {"v": 5}, Either),
        (
            record("Painted", v={"type": "enum", "name": "Color", "symbols": ["blue", "green", "red"]}),
            {"v": "green"},
            Painted,
        ),
        (record("Shaded", v={"type": "enum", "name": "Shade", "symbols": ["red", "pink"]}), {"v": "pink"}, Shaded),
        (record("Shaded", v={"type": "enum", "name": "Shade", "symbols": ["red", "pink"]}), {"v": "red"}, Shaded),
        (record("Renamed", way="string"), {"way": "w"}, Renamed),
        (record("Nested", v=ADDRESS), {"v": {"street": "s"}}, Nested),
        (record("Nested", n="int", v=ADDRESS), {"v": {"street": "s"}, "n": 1}, Nested),
        (
            record(
                "Text",
                a="int",
                b="double",
                c="boolean",
                d="bytes",
                e={"type": "array", "items": "string"},
                f={"type": "map", "values": {"type": "array", "items": "double"}},
                g=["null", "string", ADDRESS],
                h={"type": "fixed", "name": "F", "size": 3},
                i={"type": "enum", "name": "E", "symbols": ["A", "B"]},
                j="float",
                k="null",
                v="string",
                z="Address",
            ),
            {
                "a": 300,
                "b": 1.5,
                "c": True,
                "d": b"xx",
                "e": ["a", "b"],
                "f": {"k": [1.0, 2.0], "l": []},
                "g": {"street": "s"},
                "h": b"abc",
                "i": "B",
                "j": 0.25,
                "k": None,
                "v": "here",
                "z": {"street": "t"},
            },
            Text,
        ),
        (TREE, {"v": 1, "note": _LEAF, "children": [_LEAF, {**_LEAF, "children": [_LEAF]}]}, Tree),
    ],
)
def test_a_reader_resolves_as_fastavro_does(writer: str, value: Any, cls: type) -> None:
    ours = decoded(writer, value, cls)
    theirs = oracle.read(oracle.write(value, writer), writer, schema_text(cls))
    assert type(ours) is cls
    assert oracle.plain_object(ours) == theirs


def test_a_field_of_the_readers_name_goes_before_one_of_a_former_name() -> None:
    writer = record("Renamed", way="string", street="string")
    assert decoded(writer, {"way": "w", "street": "s"}, Renamed) == Renamed("s")


def test_a_new_field_takes_its_default() -> None:
    assert decoded(record("Nested", v=ADDRESS), {"v": {"street": "s"}}, Nested) == Nested(Address("s"), 7)


def test_a_new_field_takes_what_its_default_factory_makes() -> None:
    data = record("Stamped", v="string")
    first, second = (decoded(data, {"v": "x"}, Stamped) for _ in range(2))
    assert first.stamp != second.stamp


@dataclasses.dataclass
class Stamped:
    v: str
    stamp: UUID = dataclasses.field(default_factory=uuid4)


class StructSparse(msgspec.Struct):
    a: int = 1
    b: str = "b"
    c: float = 0.5


class ModelSparse(pydantic.BaseModel):
    a: int = 1
    b: str = "b"
    c: float = 0.5


@attrs.define
class AttrsSparse:
    a: int = 1
    b: str = "b"
    c: float = 0.5


@dataclasses.dataclass
class DataSparse:
    a: int = 1
    b: str = "b"
    c: float = 0.5


@pytest.mark.parametrize("cls", [StructSparse, ModelSparse, AttrsSparse, DataSparse])
def test_fields_after_a_gap_reach_their_places(cls: type) -> None:
    assert decoded(record("S", c="double", z="int"), {"c": 2.5, "z": 1}, cls) == cls(c=2.5)
    assert decoded(record("S", c="double", a="int"), {"c": 2.5, "a": 9}, cls) == cls(a=9, c=2.5)
    assert decoded(record("S"), {}, cls) == cls()


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("timestamp-millis", datetime(2020, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)),
        ("timestamp-micros", datetime(2020, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)),
    ],
)
def test_a_timestamp_of_any_unit_is_read(unit: str, value: datetime) -> None:
    assert decoded(record("At", v={"type": "long", "logicalType": unit}), {"v": value}, At) == At(value)


def test_a_timestamp_of_nanoseconds_is_read_to_the_microsecond() -> None:
    writer = record("At", v={"type": "long", "logicalType": "timestamp-nanos"})
    data = oracle.write({"v": 1_000_001_999}, record("At", v="long"))
    assert decoder(writer, At)(data, 0) == At(datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC))


def test_a_decimal_of_another_scale_is_read_exactly() -> None:
    writer = record("Money", v={"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2})
    assert decoded(writer, {"v": Decimal("-12.34")}, Money) == Money(Decimal("-12.34"))


def test_a_decimal_in_a_fixed_is_read() -> None:
    fixed = {"type": "fixed", "name": "M", "size": 8, "logicalType": "decimal", "precision": 10, "scale": 2}
    assert decoded(record("Money", v=fixed), {"v": Decimal("-12.34")}, Money) == Money(Decimal("-12.34"))


def test_a_uuid_in_a_fixed_is_read() -> None:
    ident = uuid4()
    writer = record("Ident", v={"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"})
    data = oracle.write({"v": ident.bytes}, record("Ident", v={"type": "fixed", "name": "U", "size": 16}))
    assert decoder(writer, Ident)(data, 0) == Ident(ident)


def test_a_plain_number_is_read_as_the_readers_logical_type() -> None:
    assert decoded(record("Span", v="long"), {"v": 1_500_000}, Span) == Span(timedelta(seconds=1.5))
    assert decoded(record("Day", v="int"), {"v": 1}, Day) == Day(date(1970, 1, 2))


def test_a_union_may_keep_a_branch_the_reader_lacks_until_it_comes() -> None:
    writer = record("Text", v=NULL_OR)
    assert decoded(writer, {"v": "x"}, Text) == Text("x")
    with pytest.raises(DecodeError, match=r"Text\.v: the writer has null, the class string"):
        decoded(writer, {"v": None}, Text)


def test_an_unknown_symbol_without_a_default_is_refused_by_name() -> None:
    writer = record("Painted", v={"type": "enum", "name": "Color", "symbols": ["red", "blue"]})
    assert decoded(writer, {"v": "red"}, Painted) == Painted(Color.RED)
    with pytest.raises(DecodeError, match="the symbol blue is not in Color"):
        decoded(writer, {"v": "blue"}, Painted)


def test_a_text_that_is_none_of_the_literals_is_refused() -> None:
    writer = record("Grade", v="string")
    assert decoded(writer, {"v": "not a name"}, Grade) == Grade("not a name")
    with pytest.raises(DecodeError, match="'c' is none of"):
        decoded(writer, {"v": "c"}, Grade)


@pytest.mark.parametrize(
    ("writer", "cls", "message"),
    [
        (record("Text", v="int"), Text, r"Text\.v: the writer has int, the class string"),
        (record("Whole", v="double"), Whole, "the writer has double, the class long"),
        (record("Text", w="string"), Text, r"Text\.v: the writer's Text has no such field.*FormerNames"),
        (record("Painted", v="string"), Painted, "the writer has string, the class enum Color"),
        (record("At", v="string"), At, "the writer has string, the class datetime"),
        (record("Day", v={"type": "long", "logicalType": "timestamp-micros"}), Day, "timestamp-micros"),
        (record("Money", v="string"), Money, "the class Decimal"),
        (record("Nested", v={"type": "array", "items": "int"}), Nested, r"Nested\.v: the writer has array"),
        (record("Either", v="double"), Either, "the writer has double, the class union of long, string, record"),
        (record("Text", v=["null", "int"]), Text, "the writer has null"),
        ('"string"', Text, "the writer has string, the class record Text"),
    ],
)
def test_what_cannot_be_resolved_is_refused_when_the_decoder_is_built(writer: str, cls: type, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decoder(writer, cls)


@pytest.mark.parametrize(
    "schema",
    [
        "{",
        "7",
        '"nope"',
        '{"type": "record", "fields": []}',
        '{"type": "record", "name": "A"}',
        '{"type": "record", "name": "A", "fields": [{"type": "int"}]}',
        '{"type": "record", "name": "A", "fields": [{"name": "f", "type": "B"}]}',
        '{"type": "array"}',
        '{"type": "enum", "name": "E", "symbols": "A"}',
        '{"type": "fixed", "name": "F", "size": -1}',
        '[["int"]]',
        "[" * 100_000,
        '{"type": "array", "items": ' * 2_000 + '"int"' + "}" * 2_000,
    ],
)
def test_a_schema_that_is_none_is_a_decode_error(schema: str) -> None:
    with pytest.raises(DecodeError, match="writer's schema"):
        decoder(schema, Text)


def test_records_are_chosen_by_name_among_the_branches_of_a_union() -> None:
    shapes = [
        {"type": "record", "name": name, "fields": [{"name": "r", "type": "double"}]} for name in ("Square", "Circle")
    ]
    writer = record("Drawn", v=shapes)
    for name, cls in (("Square", Square), ("Circle", Circle)):
        assert decoded(writer, {"v": (name, {"r": 2.0})}, Drawn) == Drawn(cls(2.0))


@dataclasses.dataclass
class Circle:
    r: float


@dataclasses.dataclass
class Square:
    r: float


@dataclasses.dataclass
class Drawn:
    v: Circle | Square
