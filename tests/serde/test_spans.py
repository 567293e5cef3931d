"""Instants and spans by tables of pairs of bytes: the same as by the number, whatever was read before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.serde.avro import conversions, spans
from ottla.serde.avro.decoder import build_decoder
from ottla.serde.avro.faults import Malformed
from ottla.serde.avro.plan import ReadPrimitive
from ottla.serde.avro.varint import encode_long

DAY = 86_400_000_000
INSTANTS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
AFTER = st.binary(max_size=12)
BEFORE = st.binary(max_size=3)


def spelled_longer(data: bytes, size: int) -> bytes:
    """The same number in more bytes, as Avro permits."""
    if len(data) >= size:
        return data
    return data[:-1] + bytes((data[-1] | 0x80,)) + b"\x80" * (size - len(data) - 1) + b"\0"


@given(INSTANTS, BEFORE, AFTER, st.integers(1, 10))
def test_an_instant_is_what_its_number_says_the_first_time_and_by_table(
    n: int, before: bytes, after: bytes, size: int
) -> None:
    written = spelled_longer(encode_long(n), size)
    read = build_decoder(ReadPrimitive("long", None, conversions.datetime_of_micros, "to_datetime"), "instant")
    for _time in range(2):
        assert read(before + written, len(before)) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=n)
        found = spans.read_datetime(before + written + after, len(before))
        assert found == (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=n), len(before + written))


@given(st.integers(-(1 << 62), 1 << 62), BEFORE, AFTER, st.integers(1, 10))
def test_a_span_is_what_its_number_says_the_first_time_and_by_table(
    n: int, before: bytes, after: bytes, size: int
) -> None:
    written = spelled_longer(encode_long(n), size)
    for _time in range(2):
        found = spans.read_timedelta(before + written + after, len(before))
        assert found == (timedelta(microseconds=n), len(before + written))


@given(st.integers(0, DAY - 1), BEFORE, AFTER)
def test_a_time_is_what_its_number_says_the_first_time_and_by_table(n: int, before: bytes, after: bytes) -> None:
    written = encode_long(n)
    for _time in range(2):
        found = spans.read_time(before + written + after, len(before))
        assert found == ((datetime(1970, 1, 1) + timedelta(microseconds=n)).time(), len(before + written))


@pytest.mark.parametrize("n", [-1, DAY, DAY + 5, 1 << 62])
def test_a_time_beyond_the_day_is_refused_whatever_the_tables_hold(n: int) -> None:
    for _time in range(2):
        with pytest.raises(Malformed, match="not a time of day"):
            spans.read_time(encode_long(n) + bytes(8), 0)


def test_dates_beyond_what_is_kept_are_right_too() -> None:
    dates, written = conversions.Dates(), conversions.DateBytes()
    for n in range(-5000, 5000):
        assert (dates[n] - conversions.EPOCH.date()).days == n
        assert written[dates[n]] == encode_long(n)
    assert len(dates) == len(written) == 8192
