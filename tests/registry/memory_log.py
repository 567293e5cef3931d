"""A schema log in memory: the port's other implementation, for the tests of rules and HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from ottla.registry.server.log import LogReader, LogUnavailable
from ottla.registry.server.records import Entry


class MemoryLog:
    """Implements `SchemaLog`. `entries` may be filled before `start`, as a topic that is there already.

    Attributes:
        refuse: If set, appends fail with this error and write nothing.
        meanwhile: Entries another writer puts into the log just before our next ones.
    """

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self.entries = list(entries)
        self.refuse: Exception | None = None
        self.meanwhile: list[Entry] = []
        self._reader: LogReader | None = None

    def start(self, reader: LogReader) -> None:
        self._reader = reader
        reader.restart()
        for offset, entry in enumerate(self.entries):
            reader.apply(entry, offset)
        reader.caught_up()

    def append(self, entries: Sequence[Entry]) -> None:
        if self.refuse is not None:
            raise self.refuse
        assert self._reader is not None
        for entry in [*self.meanwhile, *entries]:
            self.entries.append(entry)
            self._reader.apply(entry, len(self.entries) - 1)
        self.meanwhile = []

    def settle(self) -> None:
        pass

    def position(self) -> int:
        return len(self.entries)

    def wait_for(self, position: int, timeout_s: float) -> bool:
        return position <= len(self.entries)

    def end(self, timeout_s: float) -> int | None:
        return len(self.entries)

    def problem(self) -> str | None:
        return None if self._reader else "not started"

    def stop_waiting(self) -> None:
        pass

    def close(self) -> None:
        pass


LATE = LogUnavailable("the write is not acknowledged yet", timed_out=True)
