"""Joins with tables by key: a stream with a table, a table with a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ottla.streams.context import TaskContext
from ottla.streams.operators.base import Operator, applied
from ottla.streams.operators.batch import Batch
from ottla.streams.operators.tables import Lookup, TableOptions
from ottla.streams.stores.timestamped import Stamped

LookupMaker = Callable[[TaskContext], Lookup]
"""From a task's context to the way into a table."""

AsOfLookup = Callable[[Any, int], Any]
"""From a key and a time to the value a versioned table had."""


class StreamTableJoin(Operator):
    """Each record with what the table holds for its key (of a versioned table: held at the record's time).

    Args:
        table: From the context to a function from key and time to value.
        key_of: The table's key for a record; None: the record's own.
    """

    def __init__(
        self,
        table: Callable[[TaskContext], AsOfLookup],
        joiner: Callable[[Any, Any], Any],
        left: bool,
        key_of: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        self._table = table
        self._joiner = joiner
        self._left = left
        self._key_of = key_of

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._lookup = self._table(context)

    def process(self, batch: Batch) -> None:
        results, batch = applied(self, batch, self._found, batch.keys, batch.whole, batch.timestamps)
        chosen = [found is not None for found in results]
        if not all(chosen):
            batch = batch.where(chosen)
        if len(batch):
            self.forward(batch.with_values([found[0] for found in results if found is not None]))

    def _found(self, key: Any, value: Any, stamp: int) -> tuple[Any] | None:
        """The joined value in a tuple, as it may be None; None if there is no result."""
        wanted = key if self._key_of is None else self._key_of(key, value)
        if value is None or (wanted is None and not self._left):
            self.context.drop(self, "null-key-or-value")
            return None
        held = None if wanted is None else self._lookup(wanted, stamp)
        if held is None and not self._left:
            return None
        return (self._joiner(value, held),)


class TableJoinSide(Operator):
    """One side of a table-table join: its changes with what the other table holds.

    Args:
        own_outer: Whether rows of this side come out without a partner.
        other_outer: Whether rows of the other side do.
    """

    def __init__(
        self,
        other: LookupMaker,
        joiner: Callable[[Any, Any], Any],
        own_outer: bool,
        other_outer: bool,
        is_left: bool,
        options: TableOptions,
    ) -> None:
        self._make_lookup = other
        self._joiner = joiner if is_left else lambda own, held: joiner(held, own)
        self._own_outer = own_outer
        self._other_outer = other_outer
        self._options = options

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._lookup = self._make_lookup(context)

    def process(self, batch: Batch) -> None:
        if None in batch.keys:
            chosen = [key is not None for key in batch.keys]
            self.context.drop(self, "null-key", chosen.count(False))
            batch = batch.where(chosen)
        if batch.latest is not None:
            self.context.drop(self, "out-of-order", list(batch.latest).count(False))
            batch = batch.where(batch.latest)
        olds = batch.olds or [None] * len(batch)
        results, batch = applied(self, batch, self._change, batch.keys, batch.whole, olds, batch.timestamps)
        chosen = [found is not None for found in results]
        batch = batch.where(chosen)
        found = [one for one in results if one is not None]
        if found:
            changed = batch.with_values([one[0] for one in found])
            changed.olds = [one[1] for one in found] if self._options.sends_old else None
            changed.timestamps = [one[2] for one in found]
            self.forward(changed)

    def _change(self, key: Any, new: Any, old: Any, stamp: int) -> tuple[Any, Any, int] | None:
        held: Stamped[Any] | None = self._lookup(key)
        if held is None:
            if not self._own_outer or (new is None and old is None):
                return None
            value, time = None, stamp
        else:
            value, time = held.value, max(stamp, held.timestamp_ms)
        return self._one(new, value), self._one(old, value) if self._options.sends_old else None, time

    def _one(self, own: Any, held: Any) -> Any:
        """The joined row, where there is one."""
        if own is None and (held is None or not self._other_outer):
            return None
        return self._joiner(own, held)


class TableJoinMerge(Operator):
    """Both sides together: the joined table, kept where somebody needs it."""

    def __init__(self, options: TableOptions) -> None:
        self._options = options

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._store = None if self._options.store is None else context.store(self._options.store)

    def process(self, batch: Batch) -> None:
        if self._store is not None:
            olds = []
            for key, value, stamp in zip(batch.keys, batch.whole, batch.timestamps, strict=True):
                held = self._store.get(key)
                olds.append(None if held is None else held.value)
                self._store.put(key, value, stamp)
            batch = batch.with_values(batch.whole, olds=olds if self._options.sends_old else None)
        self.forward(batch)
