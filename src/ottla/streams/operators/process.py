"""Runs processors of the user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ottla.errors import TopologyError
from ottla.streams.context import TaskContext
from ottla.streams.errors_policy import Failure
from ottla.streams.operators.base import Operator
from ottla.streams.operators.batch import Batch
from ottla.streams.operators.expiry import expiry
from ottla.streams.processor import ProcessorContext
from ottla.streams.records import NO_TIMESTAMP, Record, RecordMetadata


class ProcessOperator(Operator):
    """A processor in a task.

    Args:
        make: Makes the processor.
        stores: The stores it may use.
        fixed_key: Whether records must keep their key.
    """

    def __init__(self, make: Callable[[], Any], stores: tuple[str, ...], fixed_key: bool) -> None:
        self._make = make
        self._fixed_key = fixed_key
        self.stores = stores

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._now: tuple[Batch, int] | None = None
        self._downstream: Exception | None = None
        self._expiries = [(context.store(name), found) for name in self.stores if (found := expiry(context, name))]
        self._processor = self._make()
        init = getattr(self._processor, "init", None)
        if init is not None:
            init(ProcessorContext(self, self._fixed_key))

    def process(self, batch: Batch) -> None:
        for index in range(len(batch)):
            self._now = batch, index
            try:
                self._processor.process(
                    Record(
                        batch.keys[index],
                        batch.whole[index],
                        batch.timestamps[index],
                        list(batch.header(index) or ()),
                    )
                )
            except Exception as error:
                if error is self._downstream:
                    raise
                self.context.failed(self, batch, index, error)
            finally:
                self._now = None

    def flush(self) -> None:
        for store, found in self._expiries:
            for row in found.rows():
                store.bytes.delete(row.raw_key)

    def emit(self, record: Record[Any, Any], to: str | None, fixed_key: bool) -> None:
        """See `ProcessorContext.forward`."""
        rows = None
        if self._now is not None:
            batch, index = self._now
            if fixed_key and record.key != batch.keys[index]:
                raise TopologyError(f"operator {self.name}: process_values must keep the key; use process to change it")
            rows = None if batch.rows is None else [batch.rows[index]]
        stamp = record.timestamp_ms if record.timestamp_ms != NO_TIMESTAMP else self.context.stream_time_ms
        headers = [record.headers] if record.headers else None
        made = Batch([record.key], [record.value], [stamp], headers, rows)
        if to is None:
            self._give(made, self.children)
            return
        child = next((child for child in self.children if child.name == to), None)
        if child is None:
            names = ", ".join(child.name for child in self.children) or "none"
            raise TopologyError(f"operator {self.name} has no child {to!r}; it has {names}")
        self._give(made, (child,))

    def _give(self, batch: Batch, children: tuple[Operator, ...]) -> None:
        """What goes wrong further down is not this processor's failure."""
        try:
            for child in children:
                child.process(batch)
        except Exception as error:
            self._downstream = error
            raise

    def schedule(self, interval_ms: int, kind: str, callback: Callable[[int], None]) -> Callable[[], None]:
        """See `ProcessorContext.schedule`."""

        def guarded(time_ms: int) -> None:
            try:
                callback(time_ms)
            except Exception as error:
                if error is self._downstream:
                    raise
                self.context.failure(Failure("processing", self.name, error, None))

        return self.context.schedule(self, interval_ms, kind, guarded)

    def metadata(self) -> RecordMetadata | None:
        """See `ProcessorContext.metadata`."""
        return None if self._now is None else self.context.metadata(*self._now)

    def close(self) -> None:
        close = getattr(self._processor, "close", None)
        if close is not None:
            close()
