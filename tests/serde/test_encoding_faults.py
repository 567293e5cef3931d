"""A value that does not fit its field is refused, and the error says which field, what was expected and what came."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any

import msgspec
import pytest

from ottla.errors import EncodeError
from ottla.events.schema import schema_text
from ottla.serde.avro import decoder, encoder
from tests.serde.samples import WIDE, Address, Color, Node, OrderCreated, OrderItem, Pickup, Size, Wide


def fault(obj: Any) -> str:
    with pytest.raises(EncodeError) as caught:
        encoder(type(obj))(obj)
    return str(caught.value)


def wide(**changes: Any) -> Wide:
    return msgspec.structs.replace(WIDE, **changes)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("text", 5, "expected str, got int 5"),
        ("text", None, "expected str, got NoneType None"),
        ("text", b"x", "expected str, got bytes"),
        ("text", "\ud800", "half a surrogate pair"),
        ("whole", "5", "expected int, got str '5'"),
        ("whole", 1.5, "expected int, got float 1.5"),
        ("whole", 2**63, "expected an int of 64 bits"),
        ("whole", -(2**63) - 1, "expected an int of 64 bits"),
        ("real", "1.5", "expected float, got str"),
        ("real", 10**400, "beyond its range"),
        ("yes", "true", "expected bool, got str"),
        ("yes", 2, "expected bool, got int 2"),
        ("raw", "text", "expected bytes, got str"),
        ("raw", 5, "expected bytes, got int"),
        ("nothing", 0, "expected None, got int"),
        ("maybe", 5, "expected str, got int"),
        ("maybe_record", "x", "expected Address, got str"),
        ("either", 1.5, "float is none of None, int, str"),
        ("target", WIDE.tree, "Node is none of Address, Pickup"),
        ("words", "abc", "expected list, got str"),
        ("words", ["a", 5], "words[1]: expected str, got int 5"),
        ("words", {"a": 1}, "expected list, got dict"),
        ("words", (w for w in "ab"), "expected list, got generator"),
        ("counts", [("a", 1)], "expected dict, got list"),
        ("counts", {1: 1}, "expected str keys, got int 1"),
        ("counts", {"a": "b"}, "counts['a']: expected int, got str"),
        ("nested", {"k": [Address(5)]}, "nested['k'][0].street: expected str, got int"),  # type: ignore[arg-type]
        ("color", "red", "expected a Color, got str"),
        ("color", Size.SMALL, "expected a Color, got Size"),
        ("kind", "broken", "expected one of ['new', 'used'], got str 'broken'"),
        ("free", "lost", "expected one of ['in stock', 'sold out']"),
        ("level", 4, "expected one of [1, 2, 3]"),
        ("money", 1.5, "expected Decimal, got float"),
        ("money", Decimal("NaN"), "NaN is not a number that can be written"),
        ("money", Decimal("-Infinity"), "not a number that can be written"),
        ("money", Decimal("0.0000000001"), "does not fit decimal(38, 9): at most 29 digits before and 9 after"),
        ("money", Decimal("1E+29"), "does not fit decimal(38, 9)"),
        ("money", Decimal("1E+999999999"), "does not fit decimal(38, 9)"),
        ("money", Decimal("1E-999999999"), "does not fit decimal(38, 9)"),
        ("price", Decimal("1.005"), "does not fit decimal(6, 2)"),
        ("price", Decimal("10000"), "does not fit decimal(6, 2)"),
        ("at", datetime(2020, 1, 1), "is naive"),
        ("at", "2020-01-01", "expected datetime, got str"),
        ("at", date(2020, 1, 1), "expected datetime, got date"),
        ("day", datetime(2020, 1, 1, tzinfo=UTC), "expected date, got datetime"),
        ("day", 5, "expected date, got int"),
        ("clock", time(1, tzinfo=UTC), "has a zone"),
        ("clock", datetime(2020, 1, 1), "expected time, got datetime"),
        ("span", timedelta.max, "does not fit into 64 bits"),
        ("span", 5, "expected timedelta, got int"),
        ("ident", str(WIDE.ident), "expected UUID, got str"),
        ("tree", None, "tree.value: expected Node, got NoneType"),
        ("when", 5, "int is none of"),
    ],
)
def test_a_value_that_does_not_fit_is_named(field: str, value: Any, message: str) -> None:
    text = fault(wide(**{field: value}))
    assert text.startswith(f"cannot write test.Wide.{field}")
    assert message in text


def test_an_item_is_named_by_its_index() -> None:
    order = OrderCreated("o", "c", Decimal(1), WIDE.at, [OrderItem("a", 1, 1.0), OrderItem("b", 1, "x")])  # type: ignore[arg-type]
    assert fault(order) == "cannot write shop.OrderCreated.items[1].price: expected float, got str 'x'"


def test_a_value_that_contains_itself_is_refused() -> None:
    node = Node(1)
    node.children.append(node)
    assert "nested more than 256 deep, or contains itself" in fault(node)


def test_a_naive_datetime_is_refused_with_what_to_do() -> None:
    assert "datetime.now(UTC)" in fault(wide(at=datetime(2020, 1, 1)))


@pytest.mark.parametrize(
    ("field", "value", "read_as"),
    [
        ("whole", True, 1),
        ("whole", 3.0, 3),
        ("whole", 30000.0, 30000),
        ("real", 3, 3.0),
        ("raw", bytearray(b"ab"), b"ab"),
        ("raw", memoryview(b"abcd").cast("i"), b"abcd"),
        ("words", ("a", "b"), ["a", "b"]),
        ("pairs", [1, 2], (1, 2)),
        ("distinct", ["x", "x"], frozenset({"x"})),
        ("money", 5, Decimal(5)),
        ("money", Decimal("99999999999999999999999999999.999999999"), None),
        ("money", Decimal("-99999999999999999999999999999.999999999"), None),
        ("money", Decimal("-0.000000128"), None),
        ("price", Decimal("1.50000"), Decimal("1.5")),
        ("at", datetime(2020, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), datetime(2020, 1, 1, tzinfo=UTC)),
        ("at", datetime.min.replace(tzinfo=UTC), None),
        ("at", datetime.max.replace(tzinfo=UTC), None),
        ("day", date.min, None),
        ("day", date.max, None),
        ("either", True, 1),
        ("color", Color.RED, None),
        ("target", Pickup(1), None),
    ],
)
def test_a_value_that_means_the_same_is_taken(field: str, value: Any, read_as: Any) -> None:
    expected = value if read_as is None else read_as
    data = encoder(Wide)(wide(**{field: value}))
    assert getattr(decoder(schema_text(Wide), Wide)(data, 0), field) == expected


def test_decimals_do_not_depend_on_the_callers_context() -> None:
    with localcontext() as context:
        context.prec = 3
        data = encoder(Wide)(wide(money=Decimal("123456.789")))
        assert decoder(schema_text(Wide), Wide)(data, 0).money == Decimal("123456.789")


@dataclasses.dataclass
class Base:
    a: int


@dataclasses.dataclass
class Derived(Base):
    b: int = 2


@dataclasses.dataclass
class Holder:
    v: Base | Derived


def test_a_subclass_in_a_union_takes_its_own_branch() -> None:
    read = decoder(schema_text(Holder), Holder)
    for value in (Base(1), Derived(1, 5)):
        assert read(encoder(Holder)(Holder(value)), 0) == Holder(value)


@dataclasses.dataclass
class Mixed:
    v: bool | int | float | date | None
    w: datetime | date


def test_a_union_takes_the_narrowest_branch_for_each_value() -> None:
    read = decoder(schema_text(Mixed), Mixed)
    at = datetime(2020, 1, 1, tzinfo=UTC)
    for v in (True, False, 1, 1.0, 1.5, date(2020, 1, 1), None):
        for w in (at, date(2020, 1, 1)):
            back = read(encoder(Mixed)(Mixed(v, w)), 0)
            assert (type(back.v), back.v, type(back.w), back.w) == (type(v), v, type(w), w)
