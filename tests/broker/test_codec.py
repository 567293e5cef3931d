"""The table codec: every message, in every version, in both encodings."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.broker.api.table import HANDLERS
from ottla.broker.wire.compiler import reader, writer
from ottla.broker.wire.primitives import MalformedMessage, read_uvarint, uvarint
from ottla.broker.wire.schema import Api, Field, Message, parse_table

APIS = [api for api, _ in HANDLERS.values()]
VERSIONS = [(api, version) for api in APIS for version in range(api.versions[0], api.versions[1] + 1)]
SAMPLES: dict[str, Any] = {
    "bool": True,
    "string": "héllo",
    "bytes": b"abc",
    "records": b"recs",
    "uuid": b"u" * 16,
    "float64": 1.5,
}


def sample(fields: list[Field], version: int, flexible: bool) -> Message:
    """A message with a value in every field the version has."""
    message: Message = {}
    for field in fields:
        if not field.present(version) or (field.tag is not None and not flexible):
            continue

        def one(field: Field = field) -> Any:
            if field.type == "struct":
                return sample(field.fields, version, flexible)
            return SAMPLES.get(field.type, 7)

        message[field.name] = [one(), one()] if field.array else one()
    return message


def encode(table: str, version: int, flexible: bool, message: Message) -> bytes:
    chunks: list[bytes | bytearray | memoryview] = []
    writer(table, version, flexible)(message, chunks)
    assert all(len(chunk) for chunk in chunks), "an empty chunk would make a vectored send spin"
    return b"".join(bytes(chunk) for chunk in chunks)


def assert_holds(read: Any, written: Any) -> None:
    if isinstance(written, dict):
        for name, value in written.items():
            assert_holds(read[name], value)
    elif isinstance(written, list):
        assert len(read) == len(written)
        for one, other in zip(read, written, strict=True):
            assert_holds(one, other)
    else:
        assert read == written


@pytest.mark.parametrize(("api", "version"), VERSIONS, ids=lambda value: getattr(value, "name", f"v{value}"))
def test_every_message_reads_back_as_written(api: Api, version: int) -> None:
    flexible = api.is_flexible(version)
    for table in (api.request, api.response):
        written = sample(parse_table(table), version, flexible)
        data = encode(table, version, flexible, written)
        read, position = reader(table, version, flexible)(memoryview(data), 0)
        assert position == len(data)
        assert_holds(read, written)


def test_a_table_becomes_a_function_with_its_first_use_and_only_once() -> None:
    table = "a int32 0+\nb string 0+"
    built = reader.cache_info().misses
    read = reader(table, 0, False)
    assert reader(table, 0, False) is read
    assert reader.cache_info().misses == built + 1


@pytest.mark.parametrize("key", [0, 1])
def test_records_are_passed_on_as_they_lie_in_the_message(key: int) -> None:
    """Neither copied nor looked into: of a request they are a view, of a reply the very object."""
    records = bytes(1000)
    if key == 0:
        part = {"index": 0, "records": records}
        body = {"acks": -1, "timeout_ms": 1, "topic_data": [{"name": "t", "partition_data": [part]}]}
        api = HANDLERS[0][0]
        message = memoryview(encode(api.request, 9, True, body))
        read, _ = reader(api.request, 9, True)(message, 0)
        found = read["topic_data"][0]["partition_data"][0]["records"]
        assert isinstance(found, memoryview)
        assert found.obj is message.obj
    else:
        chunks: list[bytes | bytearray | memoryview] = []
        answer = {"responses": [{"topic": "t", "partitions": [{"partition_index": 0, "records": records}]}]}
        writer(HANDLERS[1][0].response, 11, False)(answer, chunks)
        assert any(chunk is records for chunk in chunks)


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
def test_left_out_keys_are_written_as_their_defaults(api: Api) -> None:
    version = api.versions[1]
    flexible = api.is_flexible(version)
    data = encode(api.response, version, flexible, {})
    read, _ = reader(api.response, version, flexible)(memoryview(data), 0)
    for field in parse_table(api.response):
        if field.type != "struct" and not field.array:
            assert read[field.name] == field.default


def test_old_versions_and_new_ones_differ_on_the_wire() -> None:
    table = "name string\nids []int32\nextra int8 2+ =5\nnote string? 3+ tag=0"
    message = {"name": "ab", "ids": [1], "note": "x"}
    assert encode(table, 1, False, message) == b"\0\x02ab\0\0\0\x01\0\0\0\x01"
    assert encode(table, 2, False, message) == b"\0\x02ab\0\0\0\x01\0\0\0\x01\x05"
    assert encode(table, 3, True, message) == b"\x03ab\x02\0\0\0\x01\x05\x01\0\x02\x02x"


def test_unknown_tagged_fields_are_passed_over() -> None:
    table = "number int8\nknown int16 tag=1 =-1"
    data = b"\x07" + b"\x03" + b"\x00\x01?" + b"\x01\x02\x00\x09" + b"\x05\x03abc" + b"rest"
    read, position = reader(table, 0, True)(memoryview(data), 0)
    assert read == {"number": 7, "known": 9}
    assert data[position:] == b"rest"


def test_a_count_larger_than_the_message_is_refused_before_memory_is_used() -> None:
    with pytest.raises(MalformedMessage):
        reader("ids []int32", 0, False)(memoryview(b"\x7f\xff\xff\xff\0\0"), 0)


def test_a_string_that_runs_out_of_the_message_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        reader("name string", 0, False)(memoryview(b"\x00\x09short"), 0)


def test_a_table_line_nested_under_a_plain_field_is_refused() -> None:
    with pytest.raises(ValueError, match="nested"):
        parse_table("name string\n    inner int8")


@given(st.integers(0, 2**32 - 1))
def test_unsigned_varints_read_back(value: int) -> None:
    data = uvarint(value)
    assert read_uvarint(memoryview(data), 0) == (value, len(data))


def test_a_varint_without_an_end_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        read_uvarint(memoryview(b"\xff" * 20), 0)


@given(data=st.binary(max_size=200), choice=st.sampled_from(VERSIONS))
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_read_or_refused(data: bytes, choice: tuple[Api, int]) -> None:
    api, version = choice
    with contextlib.suppress(MalformedMessage, IndexError, struct.error, UnicodeDecodeError):
        reader(api.request, version, api.is_flexible(version))(memoryview(data), 0)
