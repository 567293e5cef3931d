"""Changes kept as objects until a commit: a key that changes a thousand times is encoded and handed on once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ottla.streams.stores.base import BytesStore


class Entry:
    """A key's state.

    Attributes:
        raw_key: As it lies in the store.
        key: The typed key (with its window) that changes are handed on under.
        value: The state now; None if there is none.
        timestamp_ms: Of its last change.
        old: The value that was handed on last.
        changed: Whether it has to be handed on.
        unwritten: Whether it has to be written to the store.
    """

    __slots__ = ("changed", "key", "old", "raw_key", "timestamp_ms", "unwritten", "value")

    def __init__(self, raw_key: bytes, key: Any, value: Any, timestamp_ms: int) -> None:
        self.raw_key = raw_key
        self.key = key
        self.value = value
        self.timestamp_ms = timestamp_ms
        self.old = value
        self.changed = False
        self.unwritten = False


class WriteBack:
    """States of a store by their raw keys, read on first use.

    Memory is bounded by the caller: it flushes when `full`, and then `forget` lets go of what was not used since.

    Args:
        encode: From value and timestamp to what lies in the store.
        entries_max: How many states are held.
    """

    def __init__(self, store: BytesStore, encode: Callable[[Any, int], bytes], entries_max: int) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.changed: list[Entry] = []
        self._store = store
        self._encode = encode
        self._entries_max = max(entries_max, 1)

    @property
    def full(self) -> bool:
        """Whether it is time to flush and forget."""
        return len(self.entries) >= self._entries_max

    def touch(self, entry: Entry) -> None:
        """Notes that an entry has changed."""
        if not entry.changed:
            entry.changed = True
            self.changed.append(entry)
        entry.unwritten = True

    def write(self) -> None:
        """Writes to the store what is not there yet, without handing it on."""
        unwritten = [entry for entry in self.changed if entry.unwritten]
        self._store.put_many(self._encoded(unwritten))
        for entry in unwritten:
            entry.unwritten = False

    def _encoded(self, entries: Iterable[Entry]) -> list[tuple[bytes, bytes | None]]:
        encode = self._encode
        return [
            (entry.raw_key, None if entry.value is None else encode(entry.value, entry.timestamp_ms))
            for entry in entries
        ]

    def take(self) -> list[Entry]:
        """Writes everything, and gives the entries that have changed since the last time, in the order of their first
        change. The caller hands them on, then calls `settle`."""
        self.write()
        taken, self.changed = self.changed, []
        return taken

    def settle(self, entries: Iterable[Entry]) -> None:
        """Notes that entries were handed on."""
        for entry in entries:
            entry.changed = False
            entry.old = entry.value

    def forget(self) -> None:
        """Lets go of the older half: dicts keep the order of insertion."""
        for key in list(self.entries)[: len(self.entries) // 2 + 1]:
            if not self.entries[key].changed:
                del self.entries[key]
