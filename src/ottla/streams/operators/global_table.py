"""Global tables: filled on every instance from all partitions of their topic."""

from __future__ import annotations

from ottla.streams.context import TaskContext
from ottla.streams.operators.base import Operator
from ottla.streams.operators.batch import Batch


class FillGlobalTable(Operator):
    """Writes the records of its topic to the store that all tasks read."""

    def __init__(self, store: str) -> None:
        self._store_name = store

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._store = context.store(self._store_name)

    def process(self, batch: Batch) -> None:
        for key, value, stamp in zip(batch.keys, batch.whole, batch.timestamps, strict=True):
            if key is None:
                self.context.drop(self, "null-key")
            else:
                self._store.put(key, value, stamp)
