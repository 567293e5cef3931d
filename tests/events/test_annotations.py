"""What Annotated and the options of @event add to a derived schema, and that the codec follows."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, time
from typing import Annotated, Any

import attrs
import msgspec
import pydantic
import pytest

from ottla.errors import DecodeError, EncodeError, EventDefinitionError
from ottla.events import Fixed, Millis, avro_schema, event, schema_text
from ottla.serde.avro import decoder, encoder, generic_decoder
from ottla.serde.avro.engine import using


@event("t", namespace="shop")
class Signed(msgspec.Struct):
    digest: Annotated[bytes, Fixed(4)]
    at: Annotated[datetime, Millis()]
    clock: Annotated[time, Millis()]
    maybe: Annotated[bytes, Fixed(2)] | None = None
    zeros: Annotated[bytes, Fixed(2)] = b"\0\xff"
    since: Annotated[datetime, Millis()] = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


VALUE = Signed(b"abcd", datetime(1969, 12, 31, 23, 59, 59, 998999, tzinfo=UTC), time(1, 2, 3, 4999), b"xy")


def fields(cls: type) -> dict[str, Any]:
    return {field["name"]: field for field in avro_schema(cls)["fields"]}


def test_fixed_bytes_are_a_named_type() -> None:
    assert fields(Signed)["digest"]["type"] == {"type": "fixed", "name": "SignedDigest", "size": 4}
    assert fields(Signed)["maybe"]["type"] == ["null", {"type": "fixed", "name": "SignedMaybe", "size": 2}]
    assert fields(Signed)["zeros"]["default"] == "\0\xff"


def test_milliseconds_are_said_in_the_schema() -> None:
    assert fields(Signed)["at"]["type"] == {"type": "long", "logicalType": "timestamp-millis"}
    assert fields(Signed)["clock"]["type"] == {"type": "int", "logicalType": "time-millis"}
    assert fields(Signed)["since"]["default"] == 1000


@pytest.mark.parametrize("engine", ["pure", "extension"])
def test_they_are_written_and_read(engine: Any) -> None:
    from tests.serde import oracle
    from tests.serde.conftest import BUILT

    if engine == "extension" and not BUILT:
        pytest.skip("the C extension was not built")
    with using(engine):
        data = encoder(Signed)(VALUE)
        back = decoder(schema_text(Signed), Signed)(data, 0)
        generic = generic_decoder(schema_text(Signed))(data, 0)
        with pytest.raises(EncodeError, match="digest: expected 4 bytes, got 3"):
            encoder(Signed)(msgspec.structs.replace(VALUE, digest=b"abc"))
    assert back.at == VALUE.at.replace(microsecond=998000)
    assert back.clock == time(1, 2, 3, 4000)
    assert (back.digest, back.maybe, back.zeros, back.since) == (b"abcd", b"xy", b"\0\xff", VALUE.since)
    assert generic == oracle.read(data, schema_text(Signed))


def test_they_belong_to_their_types_only() -> None:
    @dataclasses.dataclass
    class Text:
        v: Annotated[str, Fixed(3)]

    @dataclasses.dataclass
    class Number:
        v: Annotated[int, Millis()]

    for cls in (Text, Number):
        with pytest.raises(EventDefinitionError, match=r"\.v: no schema can be derived"):
            avro_schema(cls)
    with pytest.raises(EventDefinitionError, match="size"):
        Fixed(0)


@dataclasses.dataclass
class Inner:
    """What is inside."""

    zip_code: str = ""
    _private_one: int = 0


def camel_classes() -> list[type]:
    @dataclasses.dataclass
    class Data:
        """An order.

        With two paragraphs.
        """

        order_id: str
        inner_record: Inner

    @attrs.define
    class Attrs:
        """An order."""

        order_id: str
        inner_record: Inner

    class Struct(msgspec.Struct):
        """An order."""

        order_id: str
        inner_record: Inner

    class Model(pydantic.BaseModel):
        """An order."""

        order_id: str
        inner_record: Inner

    return [Data, Attrs, Struct, Model]


@pytest.mark.parametrize("cls", camel_classes(), ids=lambda cls: cls.__name__)
def test_fields_are_written_in_camel_case_when_asked(cls: Any) -> None:
    declared = event("t", key="order_id", rename="camel")(cls)
    assert list(fields(declared)) == ["orderId", "innerRecord"]
    inner = fields(declared)["innerRecord"]["type"]
    assert [field["name"] for field in inner["fields"]] == ["zipCode", "_privateOne"]
    value = cls(order_id="1", inner_record=Inner("LS1", 5))
    assert decoder(schema_text(declared), declared)(encoder(declared)(value), 0) == value


def test_a_name_of_its_own_goes_before_camel_case() -> None:
    @event("t", rename="camel")
    class Named(pydantic.BaseModel):
        order_id: str = pydantic.Field(alias="OrderID")
        item_count: int

    assert list(fields(Named)) == ["OrderID", "itemCount"]


def test_docstrings_are_in_the_schema_only_when_asked() -> None:
    for cls in camel_classes():
        assert "doc" not in schema_text(event("t")(cls))
    with_docs = [avro_schema(event("t", docs=True)(cls)) for cls in camel_classes()]
    assert with_docs[0]["doc"] == "An order.\n\nWith two paragraphs."
    assert {schema["doc"].split("\n")[0] for schema in with_docs} == {"An order."}
    assert with_docs[0]["fields"][1]["type"]["doc"] == "What is inside."


def test_what_dataclass_writes_as_a_docstring_is_none() -> None:
    @event("t", docs=True)
    @dataclasses.dataclass
    class Plain:
        n: int

    assert "doc" not in avro_schema(Plain)


def test_another_way_to_rename_is_refused() -> None:
    with pytest.raises(EventDefinitionError, match="rename 'kebab' is not \"camel\""):
        event("t", rename="kebab")(Inner)  # type: ignore[arg-type]


def test_a_fixed_of_another_size_is_no_match() -> None:
    @dataclasses.dataclass
    class Key:
        v: Annotated[bytes, Fixed(4)]

    writer = schema_text(Key).replace('"size":4', '"size":5')
    with pytest.raises(DecodeError, match="fixed"):
        decoder(writer, Key)
