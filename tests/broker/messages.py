"""Made-up messages of any API: right in form, anything at all in content."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ottla.broker.wire.compiler import writer
from ottla.broker.wire.schema import Api, Field, Message, parse_table
from tests.broker.batches import batch

NAMES = ("t", "u", "g", "", "__consumer_offsets", "a" * 300, "with space", "ä", "\0")
_LIMITS = {"int8": 7, "int16": 15, "int32": 31, "int64": 63}
# Enough that each API sees both what it accepts and what it does not.
_ODD_NUMBERS = (-1, 0, 1, 2, 3, 10, 100, -2)


def numbers(kind: str) -> st.SearchStrategy[int]:
    if kind.startswith("uint"):
        return st.integers(0, 2 ** int(kind[4:]) - 1)
    limit = 2 ** _LIMITS[kind]
    return st.sampled_from(_ODD_NUMBERS) | st.integers(-limit, limit - 1) | st.just(limit - 1)


@st.composite
def batches(draw: st.DrawFn) -> bytes:
    """A record batch, whole or with some bytes changed."""
    data = bytearray(
        batch(
            draw(st.lists(st.binary(max_size=20), min_size=1, max_size=4)),
            codec=draw(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 7])),
            attributes=draw(st.sampled_from([0, 0, 0, 8, 16, 32, 48, -1 << 15])),
            producer_id=draw(st.sampled_from([-1, -1, 0, 5, 2**62])),
            epoch=draw(st.sampled_from([-1, 0, 1, 32767])),
            sequence=draw(st.sampled_from([-1, 0, 1, 2**31 - 1])),
            key=draw(st.sampled_from([None, b"", b"key"])),
        )
    )
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.sampled_from([len(data), len(data), 61, 12, 0]))])


def values(field: Field, version: int, flexible: bool) -> st.SearchStrategy[Any]:
    """Values of a field; of an array, lists of them."""
    one: st.SearchStrategy[Any]
    if field.type == "struct":
        one = messages(field.fields, version, flexible)
    elif field.type == "string":
        one = st.sampled_from(NAMES) | st.text(st.characters(codec="utf-8"), max_size=12)
    elif field.type == "bytes":
        one = st.binary(max_size=40)
    elif field.type == "records":
        one = batches()
    elif field.type == "uuid":
        one = st.sampled_from([bytes(16), b"u" * 16])
    elif field.type == "bool":
        one = st.booleans()
    elif field.type == "float64":
        one = st.floats()
    else:
        one = numbers(field.type)
    if field.array:
        one = st.lists(one, max_size=3)
    return st.none() | one if field.nullable else one


def messages(fields: list[Field], version: int, flexible: bool) -> st.SearchStrategy[Message]:
    there = [field for field in fields if field.present(version) and (field.tag is None or flexible)]
    return st.fixed_dictionaries({field.name: values(field, version, flexible) for field in there})


def encoded(api: Api, version: int, message: Message) -> bytes:
    chunks: list[bytes | bytearray | memoryview] = []
    writer(api.request, version, api.is_flexible(version))(message, chunks)
    return b"".join(map(bytes, chunks))


@st.composite
def requests(draw: st.DrawFn, api: Api) -> tuple[int, bytes]:
    """A version and a request's body in it."""
    version = draw(st.integers(*api.versions))
    flexible = api.is_flexible(version)
    return version, encoded(api, version, draw(messages(parse_table(api.request), version, flexible)))
