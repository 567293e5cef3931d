"""Changes of a table held back: until their window closes, or for a while."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal

from ottla.errors import StreamsFailed
from ottla.streams.context import TaskContext
from ottla.streams.operators.aggregation import Collected
from ottla.streams.operators.base import Operator
from ottla.streams.operators.batch import Batch
from ottla.streams.records import NO_TIMESTAMP
from ottla.streams.serdes import Serde
from ottla.streams.stores.base import BytesStore

_HEAD = struct.Struct(">qqii")  # due time, timestamp, length of the new value, length of the old one (-1: none)


@dataclass(frozen=True, slots=True)
class BufferBound:
    """How much is held back at most, and what happens then.

    Attributes:
        records, bytes: None: no bound.
        when_full: `emit`: the oldest goes early. `fail`: the application stops (StreamsFailed).
    """

    records: int | None = None
    bytes: int | None = None
    when_full: Literal["emit", "fail"] = "emit"


class Suppress(Operator):
    """Holds back the newest change of each key until its time has come, by stream time.

    Args:
        wait_ms: How long after its due time: the grace of the windows, or the time limit.
        until_close: Whether the due time is the end of the key's window; else the time of its first change.
        key, value: How what is held back is written to the store.
    """

    def __init__(
        self, store: str, wait_ms: int, until_close: bool, bound: BufferBound, key: Serde[Any], value: Serde[Any]
    ) -> None:
        self._store_name = store
        self._wait_ms = wait_ms
        self._until_close = until_close
        self._bound = bound
        self._key, self._value = key, value

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._store: BytesStore = context.store(self._store_name)
        self._key, self._value = self._key.bind(context.codecs), self._value.bind(context.codecs)
        self._due: dict[bytes, int] | None = None
        self._bytes = 0

    def process(self, batch: Batch) -> None:
        due = self._loaded()
        times = self.context.times
        for index, (key, new, stamp) in enumerate(zip(batch.keys, batch.whole, batch.timestamps, strict=True)):
            time = max(times.get(self.name, NO_TIMESTAMP), stamp)
            times[self.name] = time
            self._hold(due, key, new, None if batch.olds is None else batch.olds[index], stamp)
            self._let_go(due, time)

    def _loaded(self) -> dict[bytes, int]:
        """Due times by raw key, in the order of the store; found there after a start."""
        if self._due is None:
            self._due = {}
            for raw, data in self._store.range():
                self._due[raw[8:]] = _HEAD.unpack_from(data)[0]
                self._bytes += len(raw) + len(data)
        return self._due

    def _hold(self, due: dict[bytes, int], key: Any, new: Any, old: Any, stamp: int) -> None:
        topic = self._store_name
        raw = self._key.encode(key, topic)
        if raw in due:
            # What lies there keeps its place in time, and what was before the first change of all.
            at = _place(due[raw], raw)
            data = self._store.get(at)
            assert data is not None
            _, _, new_length, old_length = _HEAD.unpack_from(data)
            before = None if old_length < 0 else data[_HEAD.size + max(new_length, 0) :]
            self._bytes -= len(at) + len(data)
        else:
            due[raw] = key.window.end_ms if self._until_close else stamp
            at = _place(due[raw], raw)
            before = None if old is None else self._value.encode(old, topic)
        now = None if new is None else self._value.encode(new, topic)
        data = _HEAD.pack(due[raw], stamp, -1 if now is None else len(now), -1 if before is None else len(before))
        data += (now or b"") + (before or b"")
        self._store.put(at, data)
        self._bytes += len(at) + len(data)

    def _let_go(self, due: dict[bytes, int], time: int) -> None:
        out = Collected(True)
        while due:
            at, data = next(self._store.range())
            full = self._full(due)
            if _HEAD.unpack_from(data)[0] > time - self._wait_ms:
                if not full:
                    break
                if self._bound.when_full == "fail":
                    raise StreamsFailed(
                        f"the buffer is full: it holds {len(due)} records, {self._bytes} bytes, and its bound is "
                        f"{self._bound.records} records, {self._bound.bytes} bytes. Raise it, shorten the grace, "
                        'or let the oldest go early (when_full="emit")',
                        operator=self.name,
                    )
            self._store.delete(at)
            self._bytes -= len(at) + len(data)
            del due[at[8:]]
            self._add(out, at[8:], data)
        self.forward(out.batch())

    def _full(self, due: dict[bytes, int]) -> bool:
        bound = self._bound
        return (bound.records is not None and len(due) > bound.records) or (
            bound.bytes is not None and self._bytes > bound.bytes
        )

    def _add(self, out: Collected, raw: bytes, data: bytes) -> None:
        _, stamp, new_length, old_length = _HEAD.unpack_from(data)
        if new_length < 0 and self._until_close:
            return  # nobody has heard of the window, so nobody needs to hear that it is gone
        middle = _HEAD.size + max(new_length, 0)
        topic = self._store_name
        new = None if new_length < 0 else self._value.decode(data[_HEAD.size : middle], topic)
        old = None if old_length < 0 else self._value.decode(data[middle:], topic)
        out.add(self._key.decode(raw, topic), new, old, stamp)


def _place(due_ms: int, raw: bytes) -> bytes:
    return due_ms.to_bytes(8, "big") + raw
