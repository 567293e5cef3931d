"""The records that codecs are measured with: an order with two items, and a wide record of forty mixed fields."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal

import msgspec

from ottla.events import Digits, event
from ottla.events.derivation import record_shape
from ottla.events.shapes import Array, Enumeration, Logical, Map, Record, Shape, Union, avro_branch
from ottla.serde.avro.branches import branch_picker


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


class Channel(Enum):
    WEB = "web"
    SHOP = "shop"
    PHONE = "phone"


class Priority(IntEnum):
    LOW = 1
    HIGH = 2


class Address(msgspec.Struct):
    street: str
    city: str
    zip_code: str
    country: str = "GB"


class Card(msgspec.Struct, tag=True):
    number: str
    expires: date


class Transfer(msgspec.Struct, tag=True):
    iban: str
    reference: str | None


class Line(msgspec.Struct):
    sku: str
    quantity: int
    price: Decimal
    tags: list[str]


@event("wide-events", namespace="bench")
class Wide(msgspec.Struct):
    """Forty fields of every kind."""

    event_id: uuid.UUID
    order_id: str
    customer_id: str
    channel: Channel
    priority: Priority
    state: Literal["new", "paid", "shipped"]
    created_at: datetime
    updated_at: datetime | None
    due_on: date
    opens_at: time
    handling: timedelta
    total: Decimal
    tax: Annotated[Decimal, Digits(12, 2)]
    discount: Decimal | None
    weight: float
    rate: float | None
    items_count: int
    version: int
    sequence: int
    retries: int | None
    gift: bool
    express: bool | None
    checksum: bytes
    note: str | None
    comment: str | None
    reference: int | str | None
    score: int | float
    payment: Card | Transfer
    billing: Address
    shipping: Address | None
    lines: list[Line]
    tags: list[str]
    codes: tuple[int, ...]
    ratings: list[float]
    labels: dict[str, str]
    amounts: dict[str, int]
    addresses: dict[str, Address]
    history: list[datetime]
    currency: str
    language: str = "en"


def orders(count: int) -> list[OrderCreated]:
    """Orders like those of the shop, none like the other."""
    chance = random.Random(4)
    return [_order(chance, i) for i in range(count)]


def wides(count: int) -> list[Wide]:
    """Wide records, none like the other."""
    chance = random.Random(40)
    return [_wide(chance, i) for i in range(count)]


def _order(chance: random.Random, i: int) -> OrderCreated:
    items = [
        OrderItem(f"{chance.randrange(10**5)}A", chance.randrange(1, 100), chance.randrange(999) / 100) for _ in "ab"
    ]
    return OrderCreated(
        str(uuid.UUID(int=chance.getrandbits(128))),
        f"customer-{chance.randrange(10**5)}",
        Decimal(chance.randrange(10**6)).scaleb(-2),
        _instant(chance),
        items,
    )


def _instant(chance: random.Random) -> datetime:
    return datetime(2010, 12, 1, tzinfo=UTC) + timedelta(microseconds=chance.randrange(10**15))


def _address(chance: random.Random) -> Address:
    return Address(f"{chance.randrange(200)} High Street", "Nürnberg" if chance.random() < 0.3 else "Leeds", "LS1 4AP")


def _wide(chance: random.Random, i: int) -> Wide:
    maybe = chance.random
    return Wide(
        event_id=uuid.UUID(int=chance.getrandbits(128)),
        order_id=f"order-{chance.randrange(10**8)}",
        customer_id=f"customer-{chance.randrange(10**5)}",
        channel=chance.choice(list(Channel)),
        priority=chance.choice(list(Priority)),
        state=chance.choice(["new", "paid", "shipped"]),
        created_at=_instant(chance),
        updated_at=_instant(chance) if maybe() < 0.5 else None,
        due_on=date(2010, 12, 1) + timedelta(days=chance.randrange(1000)),
        opens_at=time(chance.randrange(24), chance.randrange(60)),
        handling=timedelta(seconds=chance.randrange(10**6)),
        total=Decimal(chance.randrange(10**7)).scaleb(-2),
        tax=Decimal(chance.randrange(10**5)).scaleb(-2),
        discount=Decimal(chance.randrange(10**4)).scaleb(-2) if maybe() < 0.5 else None,
        weight=chance.random() * 100,
        rate=chance.random() if maybe() < 0.5 else None,
        items_count=chance.randrange(20),
        version=chance.randrange(3),
        sequence=chance.randrange(10**12),
        retries=chance.randrange(9) if maybe() < 0.5 else None,
        gift=maybe() < 0.5,
        express=chance.choice([True, False, None]),
        checksum=chance.randbytes(16),
        note="please ring twice" if maybe() < 0.5 else None,
        comment=None,
        reference=chance.choice([i, f"ref-{i}", None]),
        score=chance.choice([i, i / 7]),
        payment=Card("4111111111111111", date(2012, 1, 31))
        if maybe() < 0.5
        else Transfer("GB29NWBK60161331926819", None),
        billing=_address(chance),
        shipping=_address(chance) if maybe() < 0.5 else None,
        lines=[_line(chance) for _ in range(chance.randrange(1, 4))],
        tags=["fragile", "gift", "heavy"][: chance.randrange(4)],
        codes=tuple(chance.randrange(10**4) for _ in range(3)),
        ratings=[chance.random() for _ in range(3)],
        labels={"warehouse": f"w-{chance.randrange(9)}", "carrier": "dhl"},
        amounts={"net": chance.randrange(10**6), "gross": chance.randrange(10**6), "tax": chance.randrange(10**4)},
        addresses={"pickup": _address(chance)},
        history=[_instant(chance) for _ in range(2)],
        currency="GBP",
    )


def _line(chance: random.Random) -> Line:
    return Line(
        f"{chance.randrange(10**5)}B",
        chance.randrange(1, 20),
        Decimal(chance.randrange(10**5)).scaleb(-2),
        ["red", "xl"],
    )


def as_dict(shape: Shape, value: Any) -> Any:
    """An event as fastavro and Confluent's serializer write it fastest: dicts, records in unions named by branch."""
    match shape:
        case Record():
            return {f.name: as_dict(f.shape, getattr(value, f.attribute)) for f in shape.fields}
        case Array(item=item):
            return [as_dict(item, one) for one in value]
        case Map(value=inner):
            return {key: as_dict(inner, one) for key, one in value.items()}
        case Union(branches=branches):
            branch = branches[branch_picker(shape)(value)]
            inner_value = as_dict(branch, value)
            return (avro_branch(branch), inner_value) if isinstance(branch, Record) else inner_value
        case Enumeration(values=values, symbols=symbols):
            return symbols[values.index(value)]
        case Logical(kind="timedelta"):
            return value // timedelta(microseconds=1)
        case _:
            return value


def event_as_dict(value: object) -> Any:
    """The same for a whole event."""
    return as_dict(record_shape(type(value)), value)
