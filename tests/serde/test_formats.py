"""Events as JSON and as Protobuf: what comes back is what went out, and Confluent's serializers agree."""

from __future__ import annotations

import dataclasses
import enum
import json
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import attrs
import jsonschema
import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottla.errors import DecodeError, EncodeError, EventDefinitionError, RegistryUnavailable
from ottla.events import FormerNames, event
from ottla.events.annotations import FieldNumber, Fixed, Millis
from ottla.serde import Deserializer, Serializer
from ottla.serde.formats import FormatName, format_named
from ottla.serde.protobuf.files import load
from tests.serde.memory_registry import MemoryRegistry

FORMATS: list[FormatName] = ["json", "protobuf"]


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Size(msgspec.Struct, frozen=True):
    width: int
    height: float = 1.5


class Weight(msgspec.Struct, frozen=True):
    grams: int


@event("everything", key="text", name="Everything", namespace="test.v1")
@dataclasses.dataclass
class Everything:
    text: str
    number: int
    ratio: float
    flag: bool
    data: bytes
    amount: Decimal
    at: datetime
    day: date
    clock: time
    span: timedelta
    ident: UUID
    colour: Colour
    word: Literal["a", "b"]
    size: Size
    numbers: list[int]
    sizes: list[Size]
    names: dict[str, str]
    by_name: dict[str, Size]
    instants: list[datetime]
    either: Size | Weight | str
    maybe: str | None = None
    maybe_size: Size | None = None
    maybe_number: int | None = 7
    count: int = 3
    tags: set[str] = dataclasses.field(default_factory=set)


INT64 = st.integers(-(2**63), 2**63 - 1)
SIZES = st.builds(Size, INT64, st.floats(allow_nan=False, allow_infinity=False))
INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
EVENTS = st.builds(
    Everything,
    text=TEXT,
    number=INT64,
    ratio=st.floats(allow_nan=False, allow_infinity=False),
    flag=st.booleans(),
    data=st.binary(max_size=20),
    amount=st.decimals(-(10**12), 10**12, places=2),
    at=INSTANTS,
    day=st.dates(),
    clock=st.times(),
    span=st.timedeltas(timedelta(days=-10000), timedelta(days=10000)),
    ident=st.uuids(),
    colour=st.sampled_from(Colour),
    word=st.sampled_from(["a", "b"]),
    size=SIZES,
    numbers=st.lists(INT64, max_size=3),
    sizes=st.lists(SIZES, max_size=3),
    names=st.dictionaries(TEXT, TEXT, max_size=3),
    by_name=st.dictionaries(TEXT, SIZES, max_size=2),
    instants=st.lists(INSTANTS, max_size=2),
    either=st.one_of(SIZES, st.builds(Weight, INT64), TEXT),
    maybe=st.none() | TEXT,
    maybe_size=st.none() | SIZES,
    maybe_number=st.none() | INT64,
    count=INT64,
    tags=st.sets(TEXT, max_size=3),
)


def pair(format: FormatName) -> tuple[Serializer, Deserializer, MemoryRegistry]:
    registry = MemoryRegistry()
    return Serializer(registry, format=format), Deserializer(registry), registry


@pytest.mark.parametrize("format", FORMATS)
@given(sent=EVENTS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_type_comes_back(format: FormatName, sent: Everything) -> None:
    if format == "protobuf" and sent.maybe_number is None:
        sent.maybe_number = 7  # None is written as nothing, for which the default stands
    serializer, deserializer, _registry = pair(format)
    value = serializer.encode(sent, "everything")
    assert deserializer.record_name(value) == "test.v1.Everything"
    assert deserializer.decode(value, Everything) == sent


@given(sent=EVENTS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_as_json_is_valid_by_its_schema(sent: Everything) -> None:
    serializer, _deserializer, _registry = pair("json")
    value = serializer.encode(sent, "everything")
    schema = json.loads(format_named("json").schema_text(Everything))
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(json.loads(value[5:]), schema, jsonschema.Draft7Validator)


@event("kinds", namespace="test")
@attrs.define
class WithAttrs:
    text: str
    size: Size | None = None


@event("kinds", namespace="test")
class WithPydantic(pydantic.BaseModel):
    text: str
    count: int | None = None


@event("kinds", namespace="test")
class WithStruct(msgspec.Struct, rename="camel"):
    some_text: str
    some_size: Size | None = None


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("sent", [WithAttrs("a", Size(1)), WithPydantic(text="a"), WithStruct("a", Size(2))])
def test_any_class_with_fields_will_do(format: FormatName, sent: Any) -> None:
    serializer, deserializer, _registry = pair(format)
    assert deserializer.decode(serializer.encode(sent, "kinds"), type(sent)) == sent


@event("orders", name="Order", namespace="shop")
@dataclasses.dataclass
class OrderV1:
    id: str
    note: str
    gone: int = 0


@event("orders", name="Order", namespace="shop")
@dataclasses.dataclass
class OrderV2:
    id: str
    remark: Annotated[str, FormerNames("note")]
    added: Annotated[int, FieldNumber(4)] = 9


@pytest.mark.parametrize("format", FORMATS)
def test_a_newer_class_reads_what_an_older_one_wrote(format: FormatName) -> None:
    serializer, deserializer, _registry = pair(format)
    value = serializer.encode(OrderV1("o1", "hello", 5), "orders")
    assert deserializer.decode(value, OrderV2) == OrderV2("o1", "hello", 9)


@pytest.mark.parametrize("format", FORMATS)
def test_an_older_class_reads_what_a_newer_one_wrote(format: FormatName) -> None:
    serializer, deserializer, _registry = pair(format)
    value = serializer.encode(OrderV2("o1", "hello", 5), "orders")
    if format == "json":
        with pytest.raises(DecodeError, match="'note' is missing"):
            deserializer.decode(value, OrderV1)
    else:
        assert deserializer.decode(value, OrderV1) == OrderV1("o1", "hello")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"number": "x"}, "number: str 'x'|number: 'x'"),
        ({"text": 3}, "text"),
        ({"at": datetime(2026, 1, 1)}, "at: a datetime without a zone"),
        ({"colour": "red"}, "colour"),
        ({"sizes": [Size(1), 7]}, r"sizes"),
        ({"either": 5}, "either"),
        ({"names": {1: "x"}}, "names"),
        ({"word": "c"}, "word"),
        ({"amount": Decimal("NaN")}, "amount"),
    ],
)
def test_a_value_that_does_not_fit_names_its_field(format: FormatName, change: dict[str, Any], told: str) -> None:
    serializer, _deserializer, _registry = pair(format)
    with pytest.raises(EncodeError, match=told):
        serializer.encode(dataclasses.replace(EXAMPLE, **change), "everything")


EXAMPLE = Everything(
    "t", 1, 0.5, True, b"\0\xff", Decimal("1.50"), datetime(2026, 1, 2, tzinfo=UTC), date(2026, 1, 2), time(3, 4),
    timedelta(seconds=-1, microseconds=5), UUID(int=7), Colour.GREEN, "a", Size(1), [1], [Size(2)], {"k": "v"},
    {"k": Size(3)}, [datetime(2026, 1, 2, tzinfo=UTC)], Weight(5),
)  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_bytes_are_one_typed_error_that_says_where(format: FormatName) -> None:
    serializer, deserializer, registry = pair(format)
    value = serializer.encode(EXAMPLE, "everything")
    failed = 0
    for length in range(5, len(value)):
        # A Protobuf message cut between two fields is a message with fewer fields.
        with suppress(DecodeError):
            deserializer.decode(value[:length], Everything)
            continue
        failed += 1
    assert failed > 50
    for damaged in (value[:9], value + b"\xff"):
        with pytest.raises(DecodeError) as told:
            deserializer.decode(damaged, Everything)
        assert told.value.schema_id == 1
        assert told.value.position is not None
    registry.add("{", "JSON")
    with pytest.raises(DecodeError):
        deserializer.record_name(b"\0\0\0\0\2{}")


@pytest.mark.parametrize("format", FORMATS)
def test_hostile_nesting_is_refused(format: FormatName) -> None:
    serializer, deserializer, _registry = pair(format)
    prefix = serializer.prepare(Everything, "everything")[0]
    for payload in (b"[" * 100_000, b'{"size":' * 50_000, b"\xa2\x01\xff\xff\xff\xff\x0f"):
        with pytest.raises(DecodeError):
            deserializer.decode(prefix + payload, Everything)


def test_the_class_says_its_format_and_else_the_serializer() -> None:
    @event("formats", namespace="test", format="json")
    @dataclasses.dataclass
    class AsJson:
        a: int

    @event("formats", namespace="test")
    @dataclasses.dataclass
    class AsAny:
        a: int

    registry = MemoryRegistry()
    serializer = Serializer(registry, format="protobuf")
    deserializer = Deserializer(registry)
    for sent in (AsJson(1), AsAny(2)):
        assert deserializer.decode(serializer.encode(sent, "formats"), type(sent)) == sent
    assert registry.kinds == ["JSON", "PROTOBUF"]
    assert serializer.content_type(AsJson) == b"application/json"
    with pytest.raises(EventDefinitionError, match="none of"):
        event("x", format="xml")(AsAny)  # type: ignore[arg-type]


def test_values_of_all_formats_show_as_dicts() -> None:
    for name in ("avro", "json", "protobuf"):
        serializer, deserializer, _registry = pair(name)  # type: ignore[arg-type]  # a list of literals
        shown = deserializer.decode_to_dict(serializer.encode(WithAttrs("a", Size(1)), "kinds"))
        assert shown["text"] == "a"


@pytest.mark.parametrize("format", FORMATS)
def test_a_registry_that_is_away_stops_nothing_that_was_met_before(format: FormatName) -> None:
    serializer, deserializer, registry = pair(format)
    value = serializer.encode(EXAMPLE, "everything")
    deserializer.decode(value, Everything)
    registry.down = True
    assert deserializer.decode(serializer.encode(EXAMPLE, "everything"), Everything) == EXAMPLE
    with pytest.raises(RegistryUnavailable):
        serializer.encode(EXAMPLE, "another-topic")


@pytest.mark.parametrize("format", [*FORMATS, "avro"])
def test_a_schema_named_in_a_header_is_found(format: FormatName) -> None:
    serializer, deserializer, registry = pair(format)
    value = serializer.encode(OrderV1("a", "b"), "orders")
    guid = UUID(int=99)
    registry.guids[str(guid)] = 1
    indexes = b"\0" if format == "protobuf" else b""
    payload = value[5 + len(indexes) :]
    for named in (b"\1" + guid.bytes + indexes, b"\0\0\0\0\1" + indexes):
        framed = deserializer.framed(payload, [("x", b"y"), ("__value_schema_id", named)])
        assert framed == value
    assert deserializer.framed(value, []) == value
    assert deserializer.framed(value, [("__key_schema_id", b"\1" + guid.bytes)]) == value
    with pytest.raises(DecodeError, match="neither an id nor a GUID"):
        deserializer.framed(payload, [("__value_schema_id", b"\7")])
    with pytest.raises(DecodeError, match="GUID"):
        deserializer.framed(payload, [("__value_schema_id", b"\1" + bytes(16))])


# Protobuf's own matters


def test_fields_are_numbered_in_their_order_or_as_they_say() -> None:
    file = load(format_named("protobuf").schema_text(OrderV2)).descriptor
    assert [(field.name, field.number) for field in file.message_type[0].field] == [
        ("id", 1),
        ("remark", 2),
        ("added", 4),
    ]


@pytest.mark.parametrize(
    "hint", [list[list[int]], dict[str, list[int]], list[int] | None, list[int | str], "None", list[int] | str]
)
def test_what_protobuf_cannot_say_is_told_with_what_to_use_instead(hint: Any) -> None:
    made = dataclasses.make_dataclass("Made", [("x", None if hint == "None" else hint)])
    with pytest.raises(EventDefinitionError, match="Use instead"):
        format_named("protobuf").schema_text(made)


def test_a_number_given_twice_is_refused() -> None:
    made = dataclasses.make_dataclass(
        "Made", [("a", Annotated[int, FieldNumber(2)]), ("b", Annotated[int, FieldNumber(2)])]
    )
    with pytest.raises(EventDefinitionError, match="given twice"):
        format_named("protobuf").schema_text(made)


def test_a_message_deep_in_its_file_is_found_by_its_indexes() -> None:
    registry = MemoryRegistry()
    registry.add('syntax="proto3"; package p; message A { message B { string x = 1; } } message C {}', "PROTOBUF")
    deserializer = Deserializer(registry)
    assert deserializer.record_name(b"\0\0\0\0\1\0") == "p.A"
    assert deserializer.record_name(b"\0\0\0\0\1\4\0\0") == "p.A.B"
    assert deserializer.record_name(b"\0\0\0\0\1\2\2") == "p.C"
    assert deserializer.decode_to_dict(b"\0\0\0\0\1\4\0\0\n\1y") == {"x": "y"}
    for damaged in (b"", b"\2", b"\2\x0e", b"\x03", b"\xff\xff\xff\xff\xff\xff\x0f"):
        with pytest.raises(DecodeError):
            deserializer.record_name(b"\0\0\0\0\1" + damaged)


@pytest.mark.parametrize("format", ["avro", *FORMATS])
def test_keys_have_schemas_and_subjects_follow_the_strategy(format: FormatName) -> None:
    for strategy, value_subject, key_subject in (
        ("topic-record", "t-shop.Order", "t-Size"),
        ("topic", "t-value", "t-key"),
        ("record", "shop.Order", "Size"),
    ):
        registry = MemoryRegistry()
        serializer = Serializer(registry, format=format, strategy=strategy, key_strategy=strategy)  # type: ignore[arg-type]  # literals
        deserializer = Deserializer(registry)
        key = serializer.encode_key(Size(1), "t")
        assert deserializer.decode(key, Size) == Size(1)
        assert deserializer.decode(serializer.encode(OrderV1("a", "b"), "t"), OrderV1) == OrderV1("a", "b")
        assert serializer.encode_key(Size(1), "t") == key
        assert set(registry.subjects) == {value_subject, key_subject}


@event("fixed", namespace="test")
@dataclasses.dataclass
class WithFixed:
    digest: Annotated[bytes, Fixed(4)]
    at: Annotated[datetime, Millis()]


@event("fixed", name="WithFixed", namespace="test")
@dataclasses.dataclass
class WithLonger:
    digest: bytes
    at: datetime


@pytest.mark.parametrize("format", FORMATS)
def test_bytes_of_a_fixed_number_have_that_number(format: FormatName) -> None:
    serializer, deserializer, _registry = pair(format)
    at = datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)
    sent = WithFixed(b"abcd", at)
    assert deserializer.decode(serializer.encode(sent, "fixed"), WithFixed) == sent
    with pytest.raises(EncodeError, match="digest"):
        serializer.encode(WithFixed(b"abc", at), "fixed")
    with pytest.raises(DecodeError, match="5 bytes instead of 4"):
        deserializer.decode(serializer.encode(WithLonger(b"abcde", at), "fixed"), WithFixed)
