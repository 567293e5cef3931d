"""The port to the log that holds the schemas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .records import Entry


class LogReader(Protocol):
    """What the log calls, always from one thread, with every entry in the order of the log."""

    def restart(self) -> None:
        """What follows begins at the log's first entry again; what was read before stays in force until `caught_up`."""

    def apply(self, entry: Entry, offset: int) -> None:
        """The next entry."""

    def caught_up(self) -> None:
        """Everything that was in the log has been applied. Further entries follow as they are written."""


class LogUnavailable(Exception):
    """An append was not confirmed. It may be in the log or come into it later: `SchemaLog.settle` finds out.

    Attributes:
        timed_out: No answer in time, as against a refusal.
    """

    def __init__(self, message: str, *, timed_out: bool) -> None:
        self.timed_out = timed_out
        super().__init__(message)


class EntryTooLarge(Exception):
    """The log does not take an entry of this size. Nothing was written."""


class SchemaLog(Protocol):
    """An ordered, durable log of entries.

    Contract: `start` once, before anything else. `append` and `settle` are called by one thread at a time. What
    `append` returned for is durable and applied, so a read that follows sees it. After LogUnavailable nothing may be
    decided on the state until `settle` has returned: the entry might still arrive.
    """

    def start(self, reader: LogReader) -> None:
        """Begins to read in the background: all there is, then what comes. Waits for no one."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Writes entries in this order; returns when all are durable and applied.

        Raises:
            LogUnavailable: Not confirmed.
            EntryTooLarge: Refused for its size.
        """

    def settle(self) -> None:
        """Returns when every entry ever handed to `append` is either applied or known never to come.

        Raises:
            LogUnavailable: That is not yet known.
        """

    def position(self) -> int:
        """The offset of the next entry to be applied."""

    def wait_for(self, position: int, timeout_s: float) -> bool:
        """Waits until every entry before this offset is applied; False if that took too long. From any thread."""

    def end(self, timeout_s: float) -> int | None:
        """The offset behind the last entry in the log now; None if it cannot be had in time. From any thread."""

    def problem(self) -> str | None:
        """Why the log cannot be used right now, in words; None if it can."""

    def stop_waiting(self) -> None:
        """The process is about to end: who waits in `append` or `settle` gets LogUnavailable now. From any thread."""

    def close(self) -> None:
        """Stops reading. Returns within half a second."""
