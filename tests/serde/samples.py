"""Event classes of every kind, for the tests of the codec."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Literal
from uuid import UUID

import attrs
import msgspec
import pydantic

from ottla.events import Digits, event


class OrderItem(msgspec.Struct):
    sku: str
    quantity: int
    price: float


@event("order-events", key="order_id", namespace="shop")
class OrderCreated(msgspec.Struct):
    order_id: str
    customer_id: str
    total_amount: Decimal
    created_at: datetime
    items: list[OrderItem]


class Color(Enum):
    RED = "red"
    GREEN = "green"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Carrier(StrEnum):
    __ottla_default__ = "unknown"
    UNKNOWN = "unknown"
    DHL = "dhl"


@dataclasses.dataclass
class Node:
    """A record that contains itself."""

    value: int
    next: Node | None = None
    children: list[Node] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Address:
    street: str
    zip_code: str = ""


@dataclasses.dataclass(frozen=True)
class Pickup:
    shop: int


@event("wide-events", namespace="test")
class Wide(msgspec.Struct, kw_only=True):
    """One field of every type."""

    text: str
    whole: int
    real: float
    yes: bool
    raw: bytes
    nothing: None
    maybe: str | None
    maybe_record: Address | None
    either: int | str | None
    target: Address | Pickup
    words: list[str]
    pairs: tuple[int, ...]
    distinct: frozenset[str]
    counts: dict[str, int]
    nested: dict[str, list[Address]]
    color: Color
    size: Size
    carrier: Carrier | None
    kind: Literal["new", "used"]
    free: Literal["in stock", "sold out"]
    level: Literal[1, 2, 3]
    money: Decimal
    price: Annotated[Decimal, Digits(6, 2)]
    at: datetime
    day: date
    clock: time
    span: timedelta
    ident: UUID
    tree: Node
    when: datetime | str


WIDE = Wide(
    text="grün",
    whole=-(2**63),
    real=1.5,
    yes=True,
    raw=b"\x00\xff",
    nothing=None,
    maybe=None,
    maybe_record=Address("High Street", "1"),
    either="x",
    target=Pickup(7),
    words=["a", "", "b" * 100],
    pairs=(1, -1, 300),
    distinct=frozenset({"x", "y"}),
    counts={"a": 1, "": 2},
    nested={"k": [Address("s")], "empty": []},
    color=Color.GREEN,
    size=Size.LARGE,
    carrier=Carrier.DHL,
    kind="used",
    free="sold out",
    level=3,
    money=Decimal("-1234.5"),
    price=Decimal("9999.99"),
    at=datetime(2010, 12, 1, 8, 26, 0, 1, tzinfo=UTC),
    day=date(1969, 12, 31),
    clock=time(23, 59, 59, 999999),
    span=timedelta(days=-1, microseconds=1),
    ident=UUID("12345678-1234-5678-1234-567812345678"),
    tree=Node(1, Node(2), [Node(3), Node(4, Node(5))]),
    when=datetime(1970, 1, 1, tzinfo=UTC),
)


@dataclasses.dataclass
class PlainOrder:
    order_id: str
    items: list[str]
    note: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FrozenOrder:
    order_id: str
    items: list[str]
    note: str | None = None


class StructOrder(msgspec.Struct):
    order_id: str
    items: list[str]
    note: str | None = None


class FrozenStructOrder(msgspec.Struct, frozen=True, kw_only=True):
    order_id: str
    items: list[str]
    note: str | None = None


class ModelOrder(pydantic.BaseModel):
    order_id: str
    items: list[str]
    note: str | None = None


class FrozenModelOrder(pydantic.BaseModel, frozen=True):
    order_id: str
    items: list[str]
    note: str | None = None


@attrs.define
class AttrsOrder:
    order_id: str
    items: list[str]
    note: str | None = None


@attrs.frozen(kw_only=True)
class FrozenAttrsOrder:
    order_id: str
    items: list[str]
    note: str | None = None


class CamelOrder(msgspec.Struct, rename="camel", omit_defaults=True, array_like=True, tag="order"):
    order_id: str
    items: list[str]
    note: str | None = None


class AliasedOrder(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True, strict=True)

    order_id: str = pydantic.Field(alias="orderId")
    items: list[str] = pydantic.Field(validation_alias=pydantic.AliasChoices("theItems", "items"))
    note: str | None = None


@attrs.define
class PrivateOrder:
    _order_id: str
    items: list[str]
    note: str | None = None


EVERY_KIND = (
    PlainOrder,
    FrozenOrder,
    StructOrder,
    FrozenStructOrder,
    ModelOrder,
    FrozenModelOrder,
    AttrsOrder,
    FrozenAttrsOrder,
    CamelOrder,
    AliasedOrder,
    PrivateOrder,
)
