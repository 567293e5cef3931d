"""Between the Python values of logical types and the plain Avro values they are written as."""

from __future__ import annotations

import decimal
import struct
from binascii import hexlify
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, SafeUUID

from ottla.serde.avro.faults import Malformed
from ottla.serde.avro.varint import encode_long

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LOCAL_EPOCH = datetime(1970, 1, 1)
EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
_MILLISECOND = timedelta(milliseconds=1)
_DAY_MICROS = 86_400_000_000


def write_datetime(value: datetime) -> bytes:
    """Microseconds since 1970 in UTC, as a long. TypeError for a naive datetime."""
    delta = value - EPOCH
    n = (delta.days * 86400 + delta.seconds) * 1000000 + delta.microseconds
    if not 0x1000000000000 <= n < 0x80000000000000:
        return encode_long(n)
    # From 1978 to 3111: eight bytes, as in encode_long.
    z = n << 1
    z += (z >> 28) * 0xF0000000
    z += (z & 0x0FFFC0000FFFC000) * 3
    z += z & 0x3F803F803F803F80
    return (z | 0x0080808080808080).to_bytes(8, "little")


def write_datetime_millis(value: datetime) -> bytes:
    """Milliseconds since 1970 in UTC, as a long; what is finer is cut off."""
    return encode_long((value - EPOCH) // _MILLISECOND)


def datetime_of_micros(n: int) -> datetime:
    """The instant, in UTC. Malformed beyond the years 1 to 9999."""
    try:
        return EPOCH + n * _MICROSECOND
    except OverflowError:
        raise Malformed(f"{n} microseconds since 1970 lie beyond the years 1 to 9999") from None


def datetime_of_millis(n: int) -> datetime:
    """The instant, in UTC."""
    return datetime_of_micros(n * 1000)


def datetime_of_nanos(n: int) -> datetime:
    """The instant, in UTC, cut off to the microsecond: Python has nothing finer."""
    return datetime_of_micros(n // 1000)


def local_datetime_of_micros(n: int) -> datetime:
    """A date and time without a zone."""
    return datetime_of_micros(n).replace(tzinfo=None)


def local_datetime_of_millis(n: int) -> datetime:
    """A date and time without a zone."""
    return datetime_of_micros(n * 1000).replace(tzinfo=None)


def local_datetime_of_nanos(n: int) -> datetime:
    """A date and time without a zone, cut off to the microsecond."""
    return datetime_of_micros(n // 1000).replace(tzinfo=None)


def write_date(value: date) -> bytes:
    """Days since 1970, as a long. TypeError for a datetime, whose time of day would be lost."""
    if isinstance(value, datetime):
        raise TypeError("a datetime is not a date")
    return encode_long(value.toordinal() - EPOCH_DAY)


def date_of_days(n: int) -> date:
    """The day. Malformed beyond the years 1 to 9999."""
    try:
        return date.fromordinal(n + EPOCH_DAY)
    except (ValueError, OverflowError):
        raise Malformed(f"{n} days since 1970 lie beyond the years 1 to 9999") from None


_DAYS_KEPT = 8192  # 22 years, in 1 MB


class Dates(dict[int, date]):
    """Days since 1970 -> the date, of as many days as were met first: records rarely speak of many more."""

    def __missing__(self, n: int) -> date:
        day = date_of_days(n)
        if len(self) < _DAYS_KEPT:
            self[n] = day
        return day


class DateBytes(dict[date, bytes]):
    """A date -> what `write_date` gives for it, in the same way."""

    def __missing__(self, value: date) -> bytes:
        data = write_date(value)
        if len(self) < _DAYS_KEPT:
            self[value] = data
        return data


DATES = Dates()
DATE_BYTES = DateBytes()


def write_time(value: time) -> bytes:
    """Microseconds since midnight, as a long. TypeError for an aware time and for a datetime."""
    if value.tzinfo is not None or not isinstance(value, time):
        raise TypeError("only a time without a zone can be written")
    return encode_long(((value.hour * 60 + value.minute) * 60 + value.second) * 1000000 + value.microsecond)


def write_time_millis(value: time) -> bytes:
    """Milliseconds since midnight, as a long; what is finer is cut off."""
    if value.tzinfo is not None or not isinstance(value, time):
        raise TypeError("only a time without a zone can be written")
    return encode_long(((value.hour * 60 + value.minute) * 60 + value.second) * 1000 + value.microsecond // 1000)


def time_of_micros(n: int) -> time:
    """The time of day. Malformed unless it is within one day."""
    if not 0 <= n < _DAY_MICROS:
        raise Malformed(f"{n} microseconds are not a time of day")
    return (LOCAL_EPOCH + n * _MICROSECOND).time()


def time_of_millis(n: int) -> time:
    """The time of day."""
    return time_of_micros(n * 1000)


def time_of_nanos(n: int) -> time:
    """The time of day, cut off to the microsecond."""
    return time_of_micros(n // 1000)


def write_timedelta(value: timedelta) -> bytes:
    """The whole of it in microseconds, as a long."""
    return encode_long((value.days * 86400 + value.seconds) * 1000000 + value.microseconds)


def timedelta_of_micros(n: int) -> timedelta:
    """A span of time."""
    return n * _MICROSECOND


# What UUID's own constructor does, after it has looked at seven other ways to be called.
_new_uuid = UUID.__new__
_set_number: Callable[[UUID, int], None] = vars(UUID)["int"].__set__
_set_safety: Callable[[UUID, SafeUUID], None] = vars(UUID)["is_safe"].__set__
_UNKNOWN_SAFETY = SafeUUID.unknown
_uuid_parts = struct.Struct("8s4s4s4s12s").unpack


def uuid_of_text(text: str) -> UUID:
    """A UUID in its usual form, or any that Python's UUID takes."""
    digits = text.replace("-", "")
    try:
        if len(digits) != 32:
            return UUID(text)
        number = int(digits, 16)
    except ValueError:
        raise Malformed(f"{text[:50]!r} is not a UUID") from None
    value = _new_uuid(UUID)
    _set_number(value, number)
    _set_safety(value, _UNKNOWN_SAFETY)
    return value


def uuid_text(value: Any) -> bytes:
    """A UUID's text, as bytes. TypeError or AttributeError for anything else, whose text could be anything."""
    digits = hexlify(value.int.to_bytes(16, "big")) if value.__class__ is UUID else value.hex.encode()
    return b"-".join(_uuid_parts(digits))


def uuid_of_bytes(data: bytes) -> UUID:
    """A UUID of 16 bytes."""
    return UUID(bytes=data)


def decimal_writer(precision: int, scale: int) -> Callable[[Decimal], bytes]:
    """A function from a Decimal to its unscaled number in two's complement, as short as it can be.

    It raises an ArithmeticError or ValueError for NaN, infinity, and numbers with too many digits before or after the
    point: money is never rounded on the way out.
    """
    quantum = Decimal((0, (1,), -scale))
    # `quantize` fails at once on 1E+999999999, where arithmetic on whole numbers would fill the memory first.
    context = decimal.Context(
        prec=precision, Emin=-999999, Emax=999999, traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow]
    )
    quantize = context.quantize
    multiply = decimal.Context(prec=precision + scale + 1, Emin=-999999, Emax=999999).multiply
    factor = Decimal("1" + "0" * scale)

    def write(value: Decimal) -> bytes:
        n = int(multiply(quantize(value, quantum), factor))
        if n < 0:
            return n.to_bytes((n.bit_length() + 8) >> 3, signed=True)
        return n.to_bytes((n.bit_length() + 8) >> 3)

    return write


def decimal_size_max(precision: int) -> int:
    """How many bytes a decimal may have: more than its digits need, so that padded numbers pass."""
    return (precision * 3322 // 1000) // 8 + 8


def decimal_reader(precision: int, scale: int) -> Callable[[bytes], Decimal]:
    """A function from an unscaled number in two's complement to a Decimal with exactly `scale` digits after the point.

    Numbers far longer than the schema's precision are refused before anything is computed: turning a megabyte into a
    Decimal takes minutes.
    """
    size_max = decimal_size_max(precision)
    # Wide enough for any number that passes the length check, so nothing is ever rounded.
    context = decimal.Context(prec=size_max * 3, Emin=-999999, Emax=999999)
    multiply = context.multiply
    quantum = Decimal((0, (1,), -scale))
    from_bytes = int.from_bytes

    def read(data: bytes) -> Decimal:
        if len(data) > size_max:
            raise Malformed(f"a decimal of {len(data)} bytes, but its {precision} digits need at most {size_max}")
        n = from_bytes(data)
        if data and data[0] > 127:
            n -= 1 << (len(data) << 3)
        return multiply(n, quantum)

    return read


Conversion = Callable[[Any], Any]
