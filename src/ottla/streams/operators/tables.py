"""Changes of tables: their source, and steps that look at one change at a time."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from ottla.streams.context import TaskContext
from ottla.streams.operators.base import Operator, applied
from ottla.streams.operators.batch import Batch
from ottla.streams.operators.expiry import expiry
from ottla.streams.stores.timestamped import Stamped

_STAMP = struct.Struct(">q")

Lookup = Callable[[Any], Stamped[Any] | None]
"""From a key to what a table holds for it."""


class TableOptions:
    """What is known of a table only when the whole topology is: whether others look up its values.

    Attributes:
        store: The store that holds it; None if nobody needs one.
        sends_old: Whether those downstream need the value before each change.
        versioned: Whether its store keeps versions.
    """

    def __init__(self, store: str | None = None, sends_old: bool = False, versioned: bool = False) -> None:
        self.store = store
        self.sends_old = sends_old
        self.versioned = versioned


class TableSource(Operator):
    """Turns records into changes of a table, and keeps the table where somebody needs it."""

    def __init__(self, options: TableOptions) -> None:
        self._options = options

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._store = None if self._options.store is None else context.store(self._options.store)
        self._expiry = expiry(context, self._options.store)

    def flush(self) -> None:
        if self._expiry is None:
            return
        gone = self._expiry.rows()
        if gone:
            times = [self.context.stream_time_ms] * len(gone)
            self._stored(
                Batch([row.key for row in gone], [None] * len(gone), times, raw_keys=[row.raw_key for row in gone])
            )

    def process(self, batch: Batch) -> None:
        if None in batch.keys:
            chosen = [key is not None for key in batch.keys]
            self.context.drop(self, "null-key", chosen.count(False))
            batch = batch.where(chosen)
        if not len(batch):
            return
        if self._store is None:
            self.forward(batch.with_values(batch.whole))
        elif self._options.versioned:
            self._versioned(batch)
        else:
            self._stored(batch)

    def _stored(self, batch: Batch) -> None:
        store, sends_old = self._store, self._options.sends_old
        assert store is not None
        raw_keys = batch.raw_keys or store.key.encode_many(batch.keys, store.topic)
        olds: list[Any] | None = [] if sends_old else None
        pairs: list[tuple[bytes, bytes | None]] = []
        for index, (raw, value, stamp) in enumerate(zip(raw_keys, batch.whole, batch.timestamps, strict=True)):
            if olds is not None:
                old = store.get_raw(raw)
                olds.append(None if old is None else old.value)
            data = None if value is None else self._encoded(batch, index, value, stamp)
            if olds is None:
                pairs.append((raw, data))
            elif data is None:
                store.bytes.delete(raw)
            else:
                store.bytes.put(raw, data)
        if pairs:
            store.bytes.put_many(pairs)
        self.forward(batch.with_values(batch.whole, olds=olds))

    def _encoded(self, batch: Batch, index: int, value: Any, timestamp: int) -> bytes:
        assert self._store is not None
        if batch.raw_values is not None and (raw := batch.raw_values[index]) is not None:
            return _STAMP.pack(timestamp) + raw
        encoded: bytes = self._store.encoded(value, timestamp)
        return encoded

    def _versioned(self, batch: Batch) -> None:
        store = self._store
        assert store is not None
        olds: list[Any] = []
        latest: list[bool] = []
        kept: list[bool] = []
        for key, value, stamp in zip(batch.keys, batch.whole, batch.timestamps, strict=True):
            before = store.get(key)
            newest = store.put(key, value, stamp)
            kept.append(newest is not None)
            olds.append(None if before is None else before.value)
            latest.append(bool(newest))
        changed = batch.with_values(batch.whole, olds=olds if self._options.sends_old else None)
        changed.latest = latest
        self.context.drop(self, "expired", kept.count(False))
        self.forward(changed.where(kept))


class TableFilter(Operator):
    """Keeps the rows a predicate says yes to; a row that no longer belongs is deleted."""

    def __init__(self, predicate: Callable[[Any, Any], bool], negate: bool, options: TableOptions) -> None:
        self._predicate = predicate
        self._negate = negate
        self._options = options

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._store = None if self._options.store is None else context.store(self._options.store)

    def _value(self, key: Any, value: Any) -> Any:
        return value if value is not None and bool(self._predicate(key, value)) != self._negate else None

    def process(self, batch: Batch) -> None:
        news, batch = applied(self, batch, self._value, batch.keys, batch.whole)
        _derived(self, batch, news, self._value, self._options, self._store, skip_nothing=True)


class TableMapValues(Operator):
    """Another value for each row."""

    def __init__(self, mapper: Callable[..., Any], with_key: bool, options: TableOptions) -> None:
        self._mapper = mapper
        self._with_key = with_key
        self._options = options

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._store = None if self._options.store is None else context.store(self._options.store)

    def _value(self, key: Any, value: Any) -> Any:
        if value is None:
            return None
        return self._mapper(key, value) if self._with_key else self._mapper(value)

    def process(self, batch: Batch) -> None:
        news, batch = applied(self, batch, self._value, batch.keys, batch.whole)
        _derived(self, batch, news, self._value, self._options, self._store, skip_nothing=False)


def _derived(
    operator: Operator,
    batch: Batch,
    news: list[Any],
    value_of: Callable[[Any, Any], Any],
    options: TableOptions,
    store: Any,
    *,
    skip_nothing: bool,
) -> None:
    """Forwards the changes of a table that follow from those of another, and keeps it where it has a store."""
    olds: list[Any] | None = None
    if options.sends_old and store is None:
        before: Sequence[Any] = batch.olds or [None] * len(batch)
        olds = [value_of(key, old) for key, old in zip(batch.keys, before, strict=True)]
    elif store is not None:
        olds = []
        for key, new, stamp in zip(batch.keys, news, batch.timestamps, strict=True):
            held = store.get(key)
            olds.append(None if held is None else held.value)
            store.put(key, new, stamp)
        if not options.sends_old:
            olds = None
    changed = batch.with_values(news, olds=olds)
    if skip_nothing and olds is not None:
        # Nothing before and nothing now: nobody needs to hear of it.
        changed = changed.where([new is not None or old is not None for new, old in zip(news, olds, strict=True)])
    operator.forward(changed)


class ToStream(Operator):
    """The changes of a table as records: a deleted row is a record without a value."""

    def process(self, batch: Batch) -> None:
        self.forward(batch.with_values(batch.whole))


class ToTable(TableSource):
    """A stream as a table: the newest record of each key counts. The stream's values may have been computed."""
