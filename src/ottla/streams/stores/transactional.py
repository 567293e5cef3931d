"""State with uncommitted writes: they wait in memory and reach the committed store together (KIP-892's idea)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ottla.streams.stores.base import BytesStore, Pair
from ottla.streams.stores.committed import CommittedStore
from ottla.streams.stores.sorted_keys import SortedKeys

ENTRY_BYTES = 150
"""What an entry costs in memory besides its key and value, about."""

_MISSING = object()


class TransactionalStore(BytesStore):
    """Reads through what is not committed yet to what is.

    What was written since the last commit is in `changes`: the runtime writes it to the changelog, commits, and calls
    `commit` with the changelog's offset; after a rollback it calls `rollback`. So the committed store never holds what
    may still be undone, and a crash leaves it as it was at some commit.

    A value that was read or committed lately is kept in memory as well: two generations of entries, the older of which
    is dropped when the younger is full.

    Args:
        committed: What survives.
        cache_bytes: Memory for what was read or written last.
    """

    def __init__(self, committed: CommittedStore, *, cache_bytes: int = 4 << 20) -> None:
        self.committed = committed
        self.changes: dict[bytes, bytes | None] = {}
        self.uncommitted_bytes = 0
        self._order: SortedKeys | None = None
        self._unlogged: set[bytes] = set()
        self._young: dict[bytes, bytes | None] = {}
        self._old: dict[bytes, bytes | None] = {}
        self._young_bytes = 0
        self._cache_bytes = cache_bytes

    # ------------------------------------------------------------------ as a BytesStore

    def get(self, key: bytes) -> bytes | None:
        found = self.changes.get(key, _MISSING)
        if found is _MISSING:
            found = self._young.get(key, _MISSING)
            if found is _MISSING:
                found = self._old.get(key, _MISSING)
                if found is _MISSING:
                    found = self.committed.get(key)
                self._remember(key, found)  # type: ignore[arg-type]
        return found  # type: ignore[return-value]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        changes, young = self.changes, self._young
        found: list[object] = [changes.get(key, _MISSING) for key in keys]
        asked = []
        for at, value in enumerate(found):
            if value is _MISSING:
                key = keys[at]
                value = found[at] = young.get(key, _MISSING)
                if value is _MISSING:
                    value = found[at] = self._old.get(key, _MISSING)
                    if value is _MISSING:
                        asked.append(at)
        if asked:
            values = self.committed.get_many([keys[at] for at in asked])
            for at, read in zip(asked, values, strict=True):
                found[at] = read
                self._remember(keys[at], read)
        return found  # type: ignore[return-value]

    def put(self, key: bytes, value: bytes) -> None:
        self._set(key, value)

    def delete(self, key: bytes) -> None:
        self._set(key, None)

    def put_many(self, pairs: Iterable[tuple[bytes, bytes | None]]) -> None:
        if self._order is None and not self._unlogged:
            before = len(self.changes)
            fresh = pairs if isinstance(pairs, (list, tuple)) else list(pairs)
            self.changes.update(fresh)
            grown = sum([len(key) + (len(value) if value else 0) for key, value in fresh])
            self.uncommitted_bytes += grown + (len(self.changes) - before) * ENTRY_BYTES
        else:
            for key, value in pairs:
                self._set(key, value)

    def range(self, low: bytes | None = None, high: bytes | None = None, *, reverse: bool = False) -> Iterator[Pair]:
        if not self.changes:
            return self.committed.range(low, high, reverse=reverse)
        if self._order is None:
            self._order = SortedKeys(self.changes)
        # The keys as they are now: writing goes on while an iterator is open.
        changed = list(self._order.between(low, high, reverse=reverse))
        if not changed:
            return self.committed.range(low, high, reverse=reverse)
        return self._merged(changed, self.committed.range(low, high, reverse=reverse), reverse)

    def drop(self, low: bytes | None, high: bytes | None) -> int:
        gone = [key for key, _ in self.range(low, high)]
        for key in gone:
            self._set(key, None)
        self._unlogged.update(gone)
        return len(gone)

    def approximate_count(self) -> int:
        return self.committed.approximate_count() + sum(1 for value in self.changes.values() if value is not None)

    def close(self) -> None:
        """Undoes what is not committed. The committed store stays open: it belongs to the runtime."""
        self.rollback()

    # ------------------------------------------------------------------ for the runtime

    def logged_changes(self) -> Mapping[bytes, bytes | None]:
        """What belongs into the changelog: all changes but what only its retention removed."""
        if not self._unlogged:
            return self.changes
        return {key: value for key, value in self.changes.items() if key not in self._unlogged}

    def commit(self, changelog_offset: int | None) -> None:
        """Makes the changes permanent, with the changelog's first offset behind them (None: it has not moved)."""
        if self.changes or changelog_offset is not None:
            self.committed.apply(self.changes, changelog_offset)
        if self.changes:
            self._turn(self.changes, self.uncommitted_bytes)
        self._forget_changes()

    def rollback(self) -> None:
        """Undoes what was written since the last commit, and trusts nothing it remembers."""
        self._forget_changes()
        self.forget_cache()

    def forget_cache(self) -> None:
        """After somebody else (restoration) wrote to the committed store."""
        self._young, self._old, self._young_bytes = {}, {}, 0

    def _forget_changes(self) -> None:
        self.changes, self._order, self.uncommitted_bytes = {}, None, 0
        self._unlogged = set()

    def _set(self, key: bytes, value: bytes | None) -> None:
        if key not in self.changes:
            self.uncommitted_bytes += len(key) + ENTRY_BYTES
            if self._order is not None:
                self._order.add(key)
        if value is not None:
            self.uncommitted_bytes += len(value)
        self._unlogged.discard(key)
        self.changes[key] = value

    def _remember(self, key: bytes, value: bytes | None) -> None:
        self._young[key] = value
        self._young_bytes += len(key) + (len(value) if value else 0) + ENTRY_BYTES
        if self._young_bytes > self._cache_bytes // 2:
            self._old, self._young, self._young_bytes = self._young, {}, 0

    def _turn(self, changes: dict[bytes, bytes | None], size: int) -> None:
        if size > self._cache_bytes // 2:
            # More than the cache holds: what is remembered of these keys is out of date.
            self.forget_cache()
            return
        self._young.update(changes)
        self._young_bytes += size
        if self._young_bytes > self._cache_bytes // 2:
            self._old, self._young, self._young_bytes = self._young, {}, 0

    def _merged(self, changed: list[bytes], committed: Iterator[Pair], reverse: bool) -> Iterator[Pair]:
        """Both in one order; a changed key hides the committed one."""
        waiting = next(committed, None)
        for key in changed:
            while waiting is not None and (waiting[0] > key if reverse else waiting[0] < key):
                yield waiting
                waiting = next(committed, None)
            if waiting is not None and waiting[0] == key:
                waiting = next(committed, None)
            value = self.changes.get(key)
            if value is not None:
                yield key, value
        while waiting is not None:
            yield waiting
            waiting = next(committed, None)


class CommittedView(BytesStore):
    """Committed state to read from any thread: what queries see."""

    def __init__(self, committed: CommittedStore) -> None:
        self._committed = committed

    def get(self, key: bytes) -> bytes | None:
        return self._committed.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._committed.get_many(keys)

    def range(self, low: bytes | None = None, high: bytes | None = None, *, reverse: bool = False) -> Iterator[Pair]:
        return self._committed.range(low, high, reverse=reverse)

    def approximate_count(self) -> int:
        return self._committed.approximate_count()

    def put(self, key: bytes, value: bytes) -> None:
        raise TypeError("this is a view of a store for queries: only the application's own operators write to it")

    def delete(self, key: bytes) -> None:
        self.put(key, b"")

    def close(self) -> None:
        """Nothing: the store belongs to its task."""
