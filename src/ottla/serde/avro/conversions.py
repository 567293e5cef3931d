"""Between the Python values of logical types and the plain Avro values they are written as."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from ottla.serde.avro.faults import Malformed

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LOCAL_EPOCH = datetime(1970, 1, 1)
EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
_DAY_MICROS = 86_400_000_000


def micros_of_datetime(value: datetime) -> int:
    """Microseconds since 1970 in UTC. TypeError for a naive datetime."""
    delta = value - EPOCH
    return (delta.days * 86400 + delta.seconds) * 1000000 + delta.microseconds


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


def days_of_date(value: date) -> int:
    """Days since 1970. TypeError for a datetime, whose time of day would be lost."""
    if isinstance(value, datetime):
        raise TypeError("a datetime is not a date")
    return value.toordinal() - EPOCH_DAY


def date_of_days(n: int) -> date:
    """The day. Malformed beyond the years 1 to 9999."""
    try:
        return date.fromordinal(n + EPOCH_DAY)
    except (ValueError, OverflowError):
        raise Malformed(f"{n} days since 1970 lie beyond the years 1 to 9999") from None


def micros_of_time(value: time) -> int:
    """Microseconds since midnight. TypeError for an aware time, and for a datetime, whose day would be lost."""
    if value.tzinfo is not None or not isinstance(value, time):
        raise TypeError("only a time without a zone can be written")
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1000000 + value.microsecond


def time_of_micros(n: int) -> time:
    """The time of day. Malformed unless it is within one day."""
    if not 0 <= n < _DAY_MICROS:
        raise Malformed(f"{n} microseconds are not a time of day")
    seconds, micros = divmod(n, 1000000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return time(hour, minute, second, micros)


def time_of_millis(n: int) -> time:
    """The time of day."""
    return time_of_micros(n * 1000)


def time_of_nanos(n: int) -> time:
    """The time of day, cut off to the microsecond."""
    return time_of_micros(n // 1000)


def micros_of_timedelta(value: timedelta) -> int:
    """The whole of it in microseconds."""
    return (value.days * 86400 + value.seconds) * 1000000 + value.microseconds


def timedelta_of_micros(n: int) -> timedelta:
    """A span of time."""
    return timedelta(0, 0, n)


def uuid_of_text(text: str) -> UUID:
    """A UUID in its usual form."""
    try:
        return UUID(text)
    except ValueError:
        raise Malformed(f"{text[:50]!r} is not a UUID") from None


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
            return n.to_bytes((n.bit_length() + 8) >> 3, "big", signed=True)
        return n.to_bytes((n.bit_length() + 8) >> 3, "big")

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
        n = from_bytes(data, "big")
        if data and data[0] > 127:
            n -= 1 << (len(data) << 3)
        return multiply(n, quantum)

    return read


Conversion = Callable[[Any], Any]
