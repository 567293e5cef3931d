"""Spans of time read by table, two bytes at a time: no number is ever put together.

Counting microseconds out of seven bits a byte takes Python a dozen operations on large numbers, and turning the count
into a timedelta as many in C. Adding timedeltas is cheap, so each pair of bytes has its own. The tables begin empty and
keep what was read: at most 16,384 entries each, 4 MB in all if instants of every kind come by.
"""

from __future__ import annotations

import struct
from datetime import datetime, time, timedelta

from ottla.serde.avro.conversions import (
    LOCAL_EPOCH,
    datetime_of_micros,
    time_of_micros,
    timedelta_of_micros,
)
from ottla.serde.avro.varint import read_big_long, read_long

FOUR_PAIRS = struct.Struct("<4H").unpack_from
"""The pairs of an eight-byte number, as a timestamp in microseconds is. struct.error: fewer bytes are left."""

_three_pairs = struct.Struct("<3H").unpack_from

# By pair, in the order they are written. A pair that is not the number's last has the bit that says "there is more" in
# both bytes, so a KeyError is a shorter number, or a pair not met before. The lowest bit says "negative": such numbers
# are in no table, since the tables of their pairs would not add up.
LOWEST: dict[int, timedelta] = {}
LOWER: dict[int, timedelta] = {}
HIGHER: dict[int, timedelta] = {}
HIGHEST: dict[int, datetime] = {}

_DAY = timedelta(days=1)
_MIDNIGHT = timedelta()


def read_datetime(b: bytes, p: int) -> tuple[datetime, int]:
    """The instant of a long of microseconds, in UTC, and the position after it."""
    try:
        lowest, lower, higher, highest = FOUR_PAIRS(b, p)
    except struct.error:
        n, q = read_long(b, p)
        return datetime_of_micros(n), q
    n, q = read_big_long(b, p)
    if q == p + 8 and n >= 0:
        _keep(lowest, lower, higher)
        HIGHEST[highest] = datetime_of_micros(n >> 41 << 41)
    return datetime_of_micros(n), q


def read_timedelta(b: bytes, p: int) -> tuple[timedelta, int]:
    """The span of a long of microseconds, and the position after it."""
    try:
        lowest, lower, higher = _three_pairs(b, p)
    except struct.error:
        n, q = read_long(b, p)
        return timedelta_of_micros(n), q
    # Six bytes or five, looked up as if more followed. Where more does follow, a key comes out that no table has.
    higher, size = (higher ^ 0x8000, 6) if higher & 0x80 else (higher & 0x7F | 0x8080, 5)
    try:
        return HIGHER[higher] + LOWER[lower] + LOWEST[lowest], p + size
    except KeyError:
        n, q = read_long(b, p)
        if n >= 0 and q == p + size:
            _keep(lowest, lower, higher)
        return timedelta_of_micros(n), q


def read_time(b: bytes, p: int) -> tuple[time, int]:
    """The time of day of a long of microseconds, and the position after it. Malformed unless it is within one day."""
    span, q = read_timedelta(b, p)
    if _MIDNIGHT <= span < _DAY:
        return (LOCAL_EPOCH + span).time(), q
    return time_of_micros(read_long(b, p)[0]), q  # which says what is wrong


def _keep(lowest: int, lower: int, higher: int) -> None:
    LOWEST[lowest] = timedelta(microseconds=_bits(lowest) >> 1)
    LOWER[lower] = timedelta(microseconds=_bits(lower) << 13)
    HIGHER[higher] = timedelta(microseconds=_bits(higher) << 27)


def _bits(pair: int) -> int:
    return (pair & 0x7F) | (pair >> 1 & 0x3F80)
