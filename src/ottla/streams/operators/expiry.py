"""Which rows of a store have not changed for longer than they are to be kept."""

from __future__ import annotations

from itertools import islice
from typing import Any, NamedTuple

from ottla.streams.context import TaskContext

ROWS_MAX = 50_000
"""Rows looked at between two commits: a large store is gone through in several steps."""

PASSES = 10
"""How often a store is gone through in the time its rows are kept."""


class Row(NamedTuple):
    """A row that has expired."""

    raw_key: bytes
    key: Any
    timestamp_ms: int


class Expiry:
    """Goes through a store of timestamped values, a part at each commit, once in a tenth of the time rows are kept.

    Which commit finds a row is left to chance, and so is not the same on every run; that a row stays for its time is.
    """

    def __init__(self, context: TaskContext, store: Any, ttl_ms: int) -> None:
        self._context = context
        self._store = store
        self._ttl_ms = ttl_ms
        self._next_ms: int | None = None
        self._at: bytes | None = None  # where the pass stands

    def rows(self) -> list[Row]:
        """Those that were found now. They are the caller's to delete."""
        now = self._context.stream_time_ms
        if self._at is None:
            if now < 0 or (self._next_ms is not None and now < self._next_ms):
                return []
            self._next_ms = now + max(1, self._ttl_ms // PASSES)
        store, last = self._store, now - self._ttl_ms
        read = list(islice(store.bytes.range(self._at, None), ROWS_MAX))
        self._at = read[-1][0] + b"\0" if len(read) == ROWS_MAX else None
        return [
            Row(raw, store.key.decode(raw, store.topic), stamp)
            for raw, data in read
            if (stamp := store.stamp(data)) <= last
        ]


def expiry(context: TaskContext, name: str | None) -> Expiry | None:
    """For a store by its name; None if its rows stay."""
    ttl_ms = None if name is None else context.topology.stores[name].ttl_ms
    return None if name is None or ttl_ms is None else Expiry(context, context.store(name), ttl_ms)
