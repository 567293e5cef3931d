"""Joins of two streams within a window of time: one operator for each side, with what both need between them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from ottla.streams.context import TaskContext
from ottla.streams.operators.aggregation import Collected
from ottla.streams.operators.base import Operator
from ottla.streams.operators.batch import Batch
from ottla.streams.records import NO_TIMESTAMP
from ottla.streams.stores.base import BytesStore
from ottla.streams.windows import JoinWindows

_AT = struct.Struct(">q?")
_NUMBER = 4


class JoinPlan:
    """What both sides of a join share.

    Attributes:
        left, right: The stores of the records of each side.
        alone: The store of records without a partner so far; None for an inner join.
        left_outer, right_outer: Whether records of that side come out without a partner too.
        clock: The name under which stream time of both sides is kept.
    """

    def __init__(
        self,
        windows: JoinWindows,
        joiner: Callable[[Any, Any], Any],
        left: str,
        right: str,
        alone: str | None,
        left_outer: bool,
        right_outer: bool,
        clock: str,
    ) -> None:
        self.windows = windows
        self.joiner = joiner
        self.left = left
        self.right = right
        self.alone = alone
        self.left_outer = left_outer
        self.right_outer = right_outer
        self.clock = clock


class JoinSide(Operator):
    """One side: keeps its records for the other, and looks for partners among those of the other.

    A record without a partner comes out when its window has closed, with stream time of either side. The window of a
    record that is late already closes at once.
    """

    def __init__(self, plan: JoinPlan, is_left: bool) -> None:
        self._plan = plan
        self._is_left = is_left
        windows = plan.windows
        self._back = windows.before_ms if is_left else windows.after_ms
        self._ahead = windows.after_ms if is_left else windows.before_ms
        self._outer = plan.left_outer if is_left else plan.right_outer

    def start(self, context: TaskContext) -> None:
        super().start(context)
        own, other = (self._plan.left, self._plan.right) if self._is_left else (self._plan.right, self._plan.left)
        self._own, self._other = context.store(own), context.store(other)
        self._alone: Alone | None = None
        if self._plan.alone is not None:
            self._alone = Alone(context.store(self._plan.alone), self._plan, context)

    def process(self, batch: Batch) -> None:
        out = Joined(self)
        for index, (key, value, stamp) in enumerate(zip(batch.keys, batch.whole, batch.timestamps, strict=True)):
            try:
                self._step(batch, index, key, value, stamp, out)
            except Exception as error:
                self.context.failed(self, batch, index, error)
        out.send(batch)

    def _step(self, batch: Batch, index: int, key: Any, value: Any, stamp: int, out: Joined) -> None:
        raw_key = None if key is None else self._own.key.encode(key, self._own.topic)
        if raw_key is not None and value is not None:
            self._own.put_raw(raw_key, value, stamp, stamp)
        times = self.context.times
        time = max(times.get(self._plan.clock, NO_TIMESTAMP), stamp)
        times[self._plan.clock] = time
        if self._outer and key is None and value is not None:
            out.add(index, key, self._joined(value, None), stamp)
            return
        if raw_key is None or value is None:
            self.context.drop(self, "null-key-or-value")
            return
        if stamp == time and self._alone is not None:
            self._alone.emit(time, self._ahead, out)
        until = max(0, stamp + self._ahead)
        partners = list(self._other.fetch_range_raw(raw_key, max(0, stamp - self._back), until))
        for at, partner in partners:
            if self._alone is not None:
                self._alone.found(raw_key, at, not self._is_left)
            out.add(index, key, self._joined(value, partner.value), max(stamp, at))
        if not partners and self._outer:
            if self._alone is None or until < time:
                out.add(index, key, self._joined(value, None), stamp)
            else:
                self._alone.put(raw_key, stamp, self._is_left, self._own.value.encode(value, self._own.topic))

    def _joined(self, own: Any, other: Any) -> Any:
        return self._plan.joiner(own, other) if self._is_left else self._plan.joiner(other, own)

    def joined_alone(self, raw_key: bytes, is_left: bool, data: bytes, out: Joined, stamp: int) -> None:
        """A record that found no partner in time."""
        side = self._own if is_left == self._is_left else self._other
        key, value = side.key.decode(raw_key, side.topic), side.value.decode(data, side.topic)
        joiner = self._plan.joiner
        out.add(None, key, joiner(value, None) if is_left else joiner(None, value), stamp)


class Joined:
    """Results on their way out, in order."""

    def __init__(self, side: JoinSide) -> None:
        self.side = side
        self._out = Collected(False)
        self._from: list[int | None] = []

    def add(self, index: int | None, key: Any, value: Any, timestamp: int) -> None:
        """A result, and which input record it comes from."""
        self._out.add(key, value, None, timestamp)
        self._from.append(index)

    def send(self, batch: Batch) -> None:
        """Hands on everything, with the headers of the records it comes from."""
        if not self._from:
            return
        made = self._out.batch()
        if batch.headers is not None:
            made.headers = [None if index is None else batch.headers[index] for index in self._from]
        if batch.rows is not None and None not in self._from:
            made.rows = [batch.rows[index] for index in self._from if index is not None]
        self.side.forward(made)


class Alone:
    """Records that wait for a partner, in the order of time; of one time the right side's first (as Kafka Streams).

    Layout: timestamp (8), side (1: left), key, a number (4) -> value. The number keeps equal records apart.
    """

    def __init__(self, store: BytesStore, plan: JoinPlan, context: TaskContext) -> None:
        self._store = store
        self._plan = plan
        self._times = context.times
        self._least = f"{plan.clock} least"

    def put(self, raw_key: bytes, stamp: int, is_left: bool, value: bytes) -> None:
        """A record begins to wait."""
        number = len(self._held(raw_key, stamp, is_left))
        self._store.put(_AT.pack(stamp, is_left) + raw_key + number.to_bytes(_NUMBER, "big"), value)
        self._times[self._least] = min(self._times.get(self._least, stamp), stamp)

    def found(self, raw_key: bytes, stamp: int, is_left: bool) -> None:
        """The records of a key, time and side have a partner."""
        for key in self._held(raw_key, stamp, is_left):
            self._store.delete(key)

    def _held(self, raw_key: bytes, stamp: int, is_left: bool) -> list[bytes]:
        prefix = _AT.pack(stamp, is_left) + raw_key
        return [key for key, _ in self._store.prefix(prefix) if len(key) == len(prefix) + _NUMBER]

    def emit(self, time: int, ahead: int, out: Joined) -> None:
        """Gives out those whose windows have closed; it looks only when there may be any, by the record's side."""
        windows = self._plan.windows
        least = self._times.get(self._least)
        if least is not None and least + ahead + windows.grace_ms >= time:
            return
        self._times.pop(self._least, None)
        open_sides: set[bool] = set()
        gone: list[bytes] = []
        for key, value in self._store.range():
            stamp, is_left = _AT.unpack_from(key)
            self._times[self._least] = stamp
            if len(open_sides) == 2:
                break
            if stamp + (windows.after_ms if is_left else windows.before_ms) + windows.grace_ms >= time:
                open_sides.add(is_left)
                continue
            gone.append(key)
            out.side.joined_alone(key[_AT.size : -_NUMBER], is_left, value, out, stamp)
        for key in gone:
            self._store.delete(key)
