"""Windows: how time is cut. All times are milliseconds since the epoch, all lengths timedeltas."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, NamedTuple, TypeVar

from ottla.errors import TopologyError

K = TypeVar("K")

DAY = timedelta(days=1)


class Window(NamedTuple):
    """A span of time. Tumbling and hopping windows do not include their end; sliding and session windows do."""

    start_ms: int
    end_ms: int

    @property
    def start(self) -> datetime:
        """Its start in UTC."""
        return datetime.fromtimestamp(self.start_ms / 1000, UTC)

    @property
    def end(self) -> datetime:
        """Its end in UTC."""
        return datetime.fromtimestamp(self.end_ms / 1000, UTC)


class Windowed(NamedTuple, Generic[K]):
    """A key in a window: the key of every windowed table."""

    key: K
    window: Window


def milliseconds(span: timedelta, what: str, *, least: int = 0) -> int:
    """A length in whole milliseconds.

    Raises:
        TopologyError: It is shorter than allowed.
    """
    found = span // timedelta(milliseconds=1)
    if found < least:
        raise TopologyError(f"{what} must be at least {least} ms, not {span}")
    return found


@dataclass(frozen=True, slots=True)
class TimeWindows:
    """Windows of one length that begin at multiples of `advance_ms`. Made by `tumbling` and `hopping`.

    Attributes:
        grace_ms: How long after its end, in stream time, a window still takes records.
    """

    size_ms: int
    advance_ms: int
    grace_ms: int

    def starts(self, timestamp_ms: int) -> range:
        """The starts of the windows a record belongs to, oldest first."""
        first = max(0, timestamp_ms - self.size_ms + self.advance_ms) // self.advance_ms * self.advance_ms
        return range(first, timestamp_ms + 1, self.advance_ms)

    @property
    def retention_ms(self) -> int:
        return self.size_ms + self.grace_ms


@dataclass(frozen=True, slots=True)
class SlidingWindows:
    """Windows that hold all records which are at most `difference_ms` apart. Made by `sliding`."""

    difference_ms: int
    grace_ms: int

    @property
    def size_ms(self) -> int:
        return self.difference_ms

    @property
    def retention_ms(self) -> int:
        # An update looks at windows that began two differences before it.
        return 2 * self.difference_ms + self.grace_ms + 1


@dataclass(frozen=True, slots=True)
class SessionWindows:
    """Windows of activity, apart by at least `gap_ms` without any. Made by `session`."""

    gap_ms: int
    grace_ms: int

    @property
    def retention_ms(self) -> int:
        return self.gap_ms + self.grace_ms


@dataclass(frozen=True, slots=True)
class JoinWindows:
    """How far apart in time two records may be to be joined. Made by `within`.

    Attributes:
        before_ms: How much older the right record may be than the left.
        after_ms: How much newer.
        grace_ms: How long after a window's end a record without a partner waits for one.
    """

    before_ms: int
    after_ms: int
    grace_ms: int

    @property
    def retention_ms(self) -> int:
        return self.before_ms + self.after_ms + self.grace_ms


_NO_GRACE = timedelta(0)


def tumbling(size: timedelta, *, grace: timedelta = _NO_GRACE) -> TimeWindows:
    """Windows side by side: `tumbling(timedelta(hours=1))`.

    Args:
        grace: How long after its end, in stream time, a window still takes late records.

    Raises:
        TopologyError: A length is not positive.
    """
    size_ms = milliseconds(size, "the size of a window", least=1)
    return TimeWindows(size_ms, size_ms, milliseconds(grace, "grace"))


def hopping(size: timedelta, advance: timedelta, *, grace: timedelta = _NO_GRACE) -> TimeWindows:
    """Windows that overlap: one begins every `advance`.

    Raises:
        TopologyError: A length is not positive, or `advance` is longer than `size`.
    """
    size_ms = milliseconds(size, "the size of a window", least=1)
    advance_ms = milliseconds(advance, "the advance of a window", least=1)
    if advance_ms > size_ms:
        raise TopologyError(f"windows of {size} cannot advance by {advance}: records in between would have no window")
    return TimeWindows(size_ms, advance_ms, milliseconds(grace, "grace"))


def sliding(difference: timedelta, *, grace: timedelta = _NO_GRACE) -> SlidingWindows:
    """Windows around records that are at most `difference` apart; both ends are included.

    Raises:
        TopologyError: A length is negative.
    """
    return SlidingWindows(milliseconds(difference, "the difference"), milliseconds(grace, "grace"))


def session(gap: timedelta, *, grace: timedelta = _NO_GRACE) -> SessionWindows:
    """Windows of activity: a record within `gap` of a session joins it, and may join two to one.

    Raises:
        TopologyError: The gap is not positive.
    """
    return SessionWindows(milliseconds(gap, "the gap of a session", least=1), milliseconds(grace, "grace"))


def within(
    difference: timedelta = _NO_GRACE,
    *,
    before: timedelta | None = None,
    after: timedelta | None = None,
    grace: timedelta = _NO_GRACE,
) -> JoinWindows:
    """How far apart the records of a stream-stream join may be.

    Args:
        difference: In both directions.
        before: How much older the right record may be, if that is another length.
        after: How much newer.

    Raises:
        TopologyError: The window would be empty.
    """
    difference_ms = milliseconds(difference, "the difference")
    before_ms = difference_ms if before is None else before // timedelta(milliseconds=1)
    after_ms = difference_ms if after is None else after // timedelta(milliseconds=1)
    if before_ms + after_ms < 0:
        raise TopologyError("the window of a join ends before it begins")
    return JoinWindows(before_ms, after_ms, milliseconds(grace, "grace"))
