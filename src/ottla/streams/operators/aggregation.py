"""Aggregation of streams and tables by key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from ottla.streams.context import TaskContext
from ottla.streams.folds import Fold
from ottla.streams.operators.base import Operator
from ottla.streams.operators.batch import Batch
from ottla.streams.operators.columns import grouped, latest
from ottla.streams.operators.expiry import Expiry, expiry
from ottla.streams.operators.tables import TableOptions
from ottla.streams.records import NO_TIMESTAMP
from ottla.streams.stores.write_back import Entry, WriteBack

_IMMUTABLE = {int, float, str, bytes, bool, tuple, frozenset, Decimal}


class Collected:
    """Changes on their way out, as parallel lists."""

    def __init__(self, sends_old: bool) -> None:
        self.keys: list[Any] = []
        self.news: list[Any] = []
        self.olds: list[Any] | None = [] if sends_old else None
        self.timestamps: list[int] = []
        self.rows: list[int] = []

    def add(self, key: Any, new: Any, old: Any, timestamp: int) -> None:
        """One change."""
        self.keys.append(key)
        self.news.append(new)
        if self.olds is not None:
            self.olds.append(old)
        self.timestamps.append(timestamp)

    def batch(self) -> Batch:
        """All of them."""
        return Batch(self.keys, self.news, self.timestamps, olds=self.olds)


class CachedOperator(Operator):
    """What aggregations have in common: states by raw key, written and handed on at a flush.

    With caches turned off every change is handed on at once.
    """

    def __init__(self, fold: Fold, options: TableOptions) -> None:
        self._fold = fold
        self._options = options

    def start(self, context: TaskContext) -> None:
        super().start(context)
        assert self._options.store is not None
        self._store: Any = context.store(self._options.store)
        self._cached = context.cache_entries_max > 0 and context.topology.stores[self._options.store].cached
        self._states = WriteBack(self._store.bytes, self._store.encoded, context.cache_entries_max or 10_000)
        self._expiry = expiry(context, self._options.store)

    def _handed_on(self, entries: Sequence[Entry]) -> None:
        """Writes what has changed and hands it on."""
        states, fold = self._states, self._fold
        olds: dict[int, Any] = {}
        if self._options.sends_old:
            # A mutable state may be the same object before and after: what lies in the store is what was before.
            for entry in entries:
                if entry.old is not None and type(entry.old) not in _IMMUTABLE:
                    olds[id(entry)] = self._stored(entry)
        states.take()
        out = Collected(self._options.sends_old)
        for entry in entries:
            old = olds.get(id(entry), entry.old)
            out.add(
                entry.key,
                None if entry.value is None else fold.result(entry.value),
                None if old is None else fold.result(old),
                entry.timestamp_ms,
            )
        states.settle(entries)
        self.forward(out.batch())

    def _entry(self, raw: bytes, key: Any) -> Entry:
        data = self._store.bytes.get(raw)
        held = None if data is None else self._store.decoded(data)
        entry = Entry(raw, key, None if held is None else held.value, -1 if held is None else held.timestamp_ms)
        self._states.entries[raw] = entry
        return entry

    def _read(self, keys: dict[bytes, Any]) -> None:
        """Reads the states of many raw keys, given with their typed ones, that are not in memory yet."""
        entries = self._states.entries
        missing = [raw for raw in keys if raw not in entries]
        for raw, data in zip(missing, self._store.bytes.get_many(missing), strict=True):
            held = None if data is None else self._store.decoded(data)
            state, stamp = (None, NO_TIMESTAMP) if held is None else (held.value, held.timestamp_ms)
            entries[raw] = Entry(raw, keys[raw], state, stamp)

    def _taken_in(self, groups: dict[bytes, list[Any]], stamps: dict[bytes, int]) -> bool:
        """Takes the items of each raw key into its state; False, with nothing done, if that fails for one of them."""
        entries, many = self._states.entries, self._fold.many
        try:
            states = [many(entries[raw].value, items) for raw, items in groups.items()]
        except Exception:
            return False  # one by one it shows whose fault it is
        touch = self._states.touch
        for raw, state in zip(groups, states, strict=True):
            entry, stamp = entries[raw], stamps[raw]
            entry.timestamp_ms = stamp if entry.value is None else max(stamp, entry.timestamp_ms)
            entry.value = state
            touch(entry)
        return True

    def _stored(self, entry: Entry) -> Any:
        data = self._store.bytes.get(entry.raw_key)
        return None if data is None else self._store.decoded(data).value

    def _full(self) -> None:
        """Makes room: what was not used for longest goes."""
        if self._states.full:
            self.flush()
            self._states.forget()

    def flush(self) -> None:
        if self._expiry is not None:
            self._expire(self._expiry)
        if self._states.changed:
            self._handed_on(list(self._states.changed))

    def _expire(self, expiry: Expiry) -> None:
        for row in expiry.rows():
            entry = self._states.entries.get(row.raw_key) or self._entry(row.raw_key, row.key)
            if entry.timestamp_ms == row.timestamp_ms:  # else it has changed, which is not written yet
                entry.value, entry.timestamp_ms = None, self.context.stream_time_ms
                self._states.touch(entry)


class StreamAggregate(CachedOperator):
    """Records into the state of their key."""

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._store.write_back = self._states

    def process(self, batch: Batch) -> None:
        batch = with_key_and_value(self, batch)
        if not len(batch):
            return
        raw_keys = batch.raw_keys or self._store.key.encode_many(batch.keys, self._store.topic)
        items = self._fold.items(batch)
        if not self._cached:
            for index, raw in enumerate(raw_keys):
                self._step(batch, index, raw, items[index])
                self.flush()
        elif self._fold.adds or self._fold.counts:
            self._quickly(batch, raw_keys, items)
        elif not self._on_columns(batch, raw_keys, items):
            for index, raw in enumerate(raw_keys):
                self._step(batch, index, raw, items[index])
        self._full()

    def _on_columns(self, batch: Batch, raw_keys: Sequence[Any], items: Sequence[Any]) -> bool:
        """All records at once; False, with nothing done, where they have to be looked at one by one."""
        if not self._fold.on_columns or None in items:
            return False
        groups = grouped(raw_keys, items)
        self._read(dict(zip(raw_keys, batch.keys, strict=True)))
        return self._taken_in(groups, latest(raw_keys, batch.timestamps))

    def _quickly(self, batch: Batch, raw_keys: Sequence[Any], items: Sequence[Any]) -> None:
        """Sums and counts without a call per record, nor anything put together first."""
        counts = self._fold.counts
        entries, touch = self._states.entries, self._states.touch
        for index, (raw, item, stamp) in enumerate(zip(raw_keys, items, batch.timestamps, strict=True)):
            entry = entries.get(raw)
            if entry is None:
                entry = self._entry(raw, batch.keys[index])
            state = entry.value
            if state is None:
                if item is None:
                    continue
                entry.value = 1 if counts else item
                entry.timestamp_ms = stamp
            else:
                if counts:
                    entry.value = state + 1
                elif item is not None:
                    entry.value = state + item
                if stamp > entry.timestamp_ms:
                    entry.timestamp_ms = stamp
            if not entry.changed:
                touch(entry)
            entry.unwritten = True

    def _step(self, batch: Batch, index: int, raw: bytes, item: Any) -> None:
        key, stamp = batch.keys[index], batch.timestamps[index]
        entry = self._states.entries.get(raw) or self._entry(raw, key)
        before = entry.value
        try:
            after = self._fold.step(key, before, item)
        except Exception as error:
            self.context.failed(self, batch, index, error)
            return
        if before is None and after is None and self._fold.fields is not None:
            return  # a field that is None does not count, and nothing has changed
        entry.value = after
        entry.timestamp_ms = stamp if before is None else max(stamp, entry.timestamp_ms)
        self._states.touch(entry)


class TableAggregate(CachedOperator):
    """Changes of rows into the state of their group: the old value out, the new one in.

    Args:
        adder, subtractor: From key, value and state to state. For `reduce` (no initializer) the state is a value.
    """

    def __init__(
        self,
        initializer: Callable[[], Any] | None,
        adder: Callable[..., Any],
        subtractor: Callable[..., Any],
        options: TableOptions,
    ) -> None:
        super().__init__(Fold(), options)
        self._initializer = initializer
        self._adder = adder
        self._subtractor = subtractor

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._store.write_back = self._states

    def process(self, batch: Batch) -> None:
        raw_keys = batch.raw_keys or self._store.key.encode_many(batch.keys, self._store.topic)
        olds = batch.olds or [None] * len(batch)
        for index, raw in enumerate(raw_keys):
            key, new, old, stamp = batch.keys[index], batch.whole[index], olds[index], batch.timestamps[index]
            entry = self._states.entries.get(raw) or self._entry(raw, key)
            before = entry.value
            try:
                after = self._changed(key, before, new, old)
            except Exception as error:
                self.context.failed(self, batch, index, error)
                continue
            entry.value = after
            entry.timestamp_ms = stamp if before is None else max(stamp, entry.timestamp_ms)
            self._states.touch(entry)
            if not self._cached:
                self.flush()
        self._full()

    def _changed(self, key: Any, state: Any, new: Any, old: Any) -> Any:
        if self._initializer is None:
            if old is not None and state is not None:
                state = self._subtractor(state, old)
            return state if new is None else new if state is None else self._adder(state, new)
        if old is not None and state is not None:
            state = self._subtractor(key, old, state)
        if new is not None:
            state = self._adder(key, new, self._initializer() if state is None else state)
        return state


def with_key_and_value(operator: Operator, batch: Batch) -> Batch:
    """Without the records that have no key or no value: they belong to no group."""
    values: Sequence[Any] = batch.raw_values if batch.values is None else batch.values  # type: ignore[assignment]
    if None in batch.keys or (None in values):
        chosen = [key is not None and value is not None for key, value in zip(batch.keys, values, strict=True)]
        operator.context.drop(operator, "null-key-or-value", chosen.count(False))
        return batch.where(chosen)
    return batch
