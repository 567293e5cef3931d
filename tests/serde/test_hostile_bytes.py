"""Whatever bytes come, the only failure is a DecodeError with a position, soon and without much memory."""

from __future__ import annotations

import dataclasses
import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottla.errors import DecodeError
from ottla.events.schema import schema_text
from ottla.serde.avro import decoder, encoder, generic_decoder
from ottla.serde.avro.varint import encode_long
from tests.serde.samples import WIDE, Address, Color, Node, OrderCreated, Wide

_fuzz = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
_WIDE = encoder(Wide)(WIDE)
_BILLIONS = encode_long(2**40)


@dataclasses.dataclass
class Empty:
    pass


@dataclasses.dataclass
class Lists:
    words: list[str]
    reals: list[float]
    counts: dict[str, int]
    raw: bytes


@dataclasses.dataclass
class Painted:
    color: Color


@dataclasses.dataclass
class Maybe:
    address: Address | None


@dataclasses.dataclass
class Greedy:
    n: int

    def __post_init__(self) -> None:
        raise MemoryError


@dataclasses.dataclass
class Positive:
    n: int

    def __post_init__(self) -> None:
        if self.n <= 0:
            raise ValueError("n must be positive")


def outcome(read: Callable[[bytes, int], Any], data: bytes) -> DecodeError | None:
    """The DecodeError, or None if the bytes happened to be right; any other exception fails the test."""
    failed: DecodeError | None = None
    try:
        read(data, 0)
    except DecodeError as error:
        failed = error
    if failed is not None:
        assert failed.position is not None
        assert 0 <= failed.position <= len(data)
    return failed


def readers(cls: type) -> list[Callable[[bytes, int], Any]]:
    """The class's own decoder, the generic one, and one that skips every field."""
    schema = schema_text(cls)
    return [decoder(schema, cls), generic_decoder(schema), decoder(schema, Empty)]


def failure(data: bytes, cls: type) -> DecodeError:
    error = outcome(decoder(schema_text(cls), cls), data)
    assert error is not None
    return error


def in_bounds(read: Callable[[bytes, int], Any], data: bytes) -> DecodeError | None:
    """The outcome, which must come within a second and 8 MB."""
    tracemalloc.start()
    started = time.perf_counter()
    error = outcome(read, data)
    seconds = time.perf_counter() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 1
    assert peak < 8_000_000
    return error


@_fuzz
@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_decode_errors(data: bytes) -> None:
    for cls in (Wide, OrderCreated, Node):
        for read in readers(cls):
            outcome(read, data)


@_fuzz
@given(st.data())
def test_mutated_events_raise_nothing_but_decode_errors(data: st.DataObject) -> None:
    mutated = bytearray(_WIDE)
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    for read in readers(Wide):
        outcome(read, bytes(mutated))


@pytest.mark.parametrize("cls", [Wide, Empty])
def test_an_event_cut_off_anywhere_is_refused(cls: type) -> None:
    read = decoder(schema_text(Wide), cls)
    for end in range(len(_WIDE)):
        assert outcome(read, _WIDE[:end]) is not None, end


def test_bytes_left_over_are_refused_with_their_position() -> None:
    error = failure(_WIDE + b"\0", Wide)
    assert error.position == len(_WIDE)
    assert "1 byte is left over" in str(error)


def test_an_error_names_the_field() -> None:
    data = encoder(Lists)(Lists(["a", "b"], [], {}, b""))
    error = failure(data.replace(b"b", b"\xff"), Lists)
    assert "Lists.words" in str(error)
    assert "not UTF-8" in str(error)
    assert error.position == 4


@pytest.mark.parametrize("read", readers(Lists))
@pytest.mark.parametrize(
    "data",
    [
        _BILLIONS,  # that many words
        encode_long(-(2**40)) + encode_long(8) + b"\0" * 8,  # that many words, with the block's size told
        encode_long(-1) + _BILLIONS,  # a block of that many bytes
        b"\x02" + _BILLIONS + b"abc",  # a word that long
        b"\0" + _BILLIONS + b"\0" * 8,  # that many floats
        b"\0\0" + _BILLIONS + b"\x02a\x02",  # that many entries
        b"\0\0\0" + _BILLIONS,  # that many raw bytes
        b"\0\0\0" + b"\x01",  # minus one raw byte
        b"\x02" + b"\xff" * 30,  # a number without an end
        b"\x01" * 50,  # blocks of minus one item
    ],
)
def test_hostile_lengths_are_refused_before_anything_is_allocated(
    read: Callable[[bytes, int], Any], data: bytes
) -> None:
    assert in_bounds(read, data) is not None


def test_items_that_take_no_byte_cannot_fill_the_memory() -> None:
    empty = {"type": "record", "name": "E", "fields": []}
    for items in ("null", empty):
        schema = json.dumps({"type": "array", "items": items})
        error = in_bounds(generic_decoder(schema), encode_long(2**40) + b"\0")
        assert error is not None
        assert "take no byte" in str(error)
        assert in_bounds(generic_decoder(schema), b"\x7e" * 1_000_000 + b"\0") is not None


def test_a_record_nested_without_end_is_refused() -> None:
    endless = b"\x02\x02" * 5000
    for read in readers(Node):
        assert in_bounds(read, endless) is not None


def test_nesting_within_the_limit_is_read() -> None:
    node = Node(0)
    for i in range(250):
        node = Node(i, node)
    schema = schema_text(Node)
    assert decoder(schema, Node)(encoder(Node)(node), 0) == node


def test_a_decimal_of_a_megabyte_is_refused_at_once() -> None:
    order = OrderCreated("", "", WIDE.money, WIDE.at, [])
    schema = schema_text(OrderCreated)
    data = encoder(OrderCreated)(order)
    prefix, suffix = b"\0\0", data[-9:]
    million = prefix + encode_long(1_000_000) + b"\x7f" * 1_000_000 + suffix
    error = in_bounds(decoder(schema, OrderCreated), million)
    assert error is not None
    assert "at most" in str(error)


def test_an_unknown_symbol_index_is_refused() -> None:
    assert "index of a symbol" in str(failure(b"\x04", Painted))
    assert "negative" in str(failure(b"\x01", Painted))


def test_an_unknown_branch_is_refused() -> None:
    assert "index of a branch" in str(failure(b"\x06", Maybe))
    assert "negative" in str(failure(b"\x03", Maybe))


def test_an_instant_beyond_the_calendar_is_refused() -> None:
    data = encoder(OrderCreated)(OrderCreated("", "", WIDE.money, WIDE.at, []))
    far = data[:-9] + encode_long(2**62) + b"\0"
    error = failure(far, OrderCreated)
    assert "years 1 to 9999" in str(error)
    assert "created_at" in str(error)


def test_memory_that_runs_out_is_not_blamed_on_the_record() -> None:
    with pytest.raises(MemoryError):
        decoder(schema_text(Greedy), Greedy)(b"\x02", 0)


def test_a_constructor_that_refuses_becomes_a_decode_error() -> None:
    assert "n must be positive" in str(failure(b"\x01", Positive))
