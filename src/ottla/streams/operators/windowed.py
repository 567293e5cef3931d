"""Aggregation by key and tumbling or hopping window; what sliding windows and sessions share with it."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

from ottla.streams.context import TaskContext
from ottla.streams.folds import Fold
from ottla.streams.operators.aggregation import CachedOperator, Collected
from ottla.streams.operators.base import Operator
from ottla.streams.operators.batch import Batch
from ottla.streams.operators.columns import crowded, grouped, latest
from ottla.streams.operators.tables import TableOptions
from ottla.streams.records import NO_TIMESTAMP
from ottla.streams.windows import TimeWindows, Window, Windowed


class WindowOptions:
    """What is known of a windowed aggregation only when the whole topology is.

    Attributes:
        on_close: Whether a window is handed on once, when it closes, and not at every change.
        late: The name of the child that takes records whose windows have closed; None if nobody does.
    """

    def __init__(self, on_close: bool = False, late: str | None = None) -> None:
        self.on_close = on_close
        self.late = late


class WindowOperator(CachedOperator):
    """Time of windows: each operator's own, from the records that reach it (as in Kafka Streams)."""

    def __init__(self, fold: Fold, options: TableOptions, window_options: WindowOptions) -> None:
        super().__init__(fold, options)
        self._window_options = window_options
        self._late: tuple[Operator, ...] = ()

    def start(self, context: TaskContext) -> None:
        super().start(context)
        late = self._window_options.late
        self._late = tuple(child for child in self.children if child.name == late)
        self.children = tuple(child for child in self.children if child.name != late)
        self._closing: OpenWindows | None = None

    @property
    def time_ms(self) -> int:
        """The highest timestamp that reached this operator."""
        return self.context.times.get(self.name, NO_TIMESTAMP)

    def observe(self, timestamp_ms: int, item: Any) -> int:
        """Stream time goes on; gives it. Each of several cogrouped streams has a time of its own."""
        times = self.context.times
        name = f"{self.name} {item[0]}" if self._fold.several else self.name
        time = times.get(name, NO_TIMESTAMP)
        if timestamp_ms > time:
            times[name] = time = timestamp_ms
        return time

    def put_aside(self, batch: Batch, indexes: Sequence[int], windows: int | None = None) -> None:
        """Late records: counted, and given to whoever asked for them."""
        if indexes:
            self.context.drop(self, "late", len(indexes) if windows is None else windows)
            for child in self._late:
                child.process(batch.at(indexes))

    def closing(self) -> OpenWindows:
        """The windows that wait for their close; found in the store after a start."""
        if self._closing is None:
            self._closing = OpenWindows(self._held())
        return self._closing

    def _held(self) -> list[tuple[int, bytes, Any]]:
        """Close time, raw key and typed key of every window in the store."""
        raise NotImplementedError

    def emit_closed(self, close_time_ms: int) -> None:
        """Hands on the windows whose time has come, in the order of time."""
        found = self.closing().take(close_time_ms)
        if not found:
            return
        out = Collected(False)
        for raw, key in found:
            entry = self._states.entries.get(raw)
            if entry is not None:
                held: Any = (entry.value, entry.timestamp_ms)
            else:
                data = self._store.bytes.get(raw)
                held = None if data is None else self.read(data, key)
            if held is not None and held[0] is not None:
                out.add(key, self._fold.result(held[0]), None, held[1])
        self.forward(out.batch())

    def read(self, data: bytes, key: Any) -> tuple[Any, int]:
        """State and timestamp of what lies in the store."""
        held = self._store.decoded(data)
        return held.value, held.timestamp_ms


class OpenWindows:
    """Windows in the order in which they close."""

    def __init__(self, held: Sequence[tuple[int, bytes, Any]]) -> None:
        # By the time that counts (start, or end of a session), raw keys with their typed ones.
        self._at: dict[int, dict[bytes, Any]] = {}
        self._times: list[int] = []  # a heap: every record asks whether anything is due
        for time, raw, key in held:
            self.add(time, raw, key)

    def add(self, time_ms: int, raw: bytes, key: Any) -> None:
        """A window; again is no matter."""
        if time_ms not in self._at:
            self._at[time_ms] = {}
            heapq.heappush(self._times, time_ms)
        self._at[time_ms][raw] = key

    def remove(self, time_ms: int, raw: bytes) -> None:
        """It became part of another."""
        self._at.get(time_ms, {}).pop(raw, None)

    def take(self, close_time_ms: int) -> list[tuple[bytes, Any]]:
        """Those whose time is at most the close time: they are no longer open."""
        due: list[tuple[bytes, Any]] = []
        while self._times and self._times[0] <= close_time_ms:
            due += sorted(self._at.pop(heapq.heappop(self._times)).items(), key=_by_start)
        return due


def _by_start(window: tuple[bytes, Any]) -> tuple[int, bytes]:
    """Of one time the earliest start first, then by key: Kafka Streams' order."""
    return window[1].window.start_ms, window[0]


class WindowAggregate(WindowOperator):
    """Records into the state of their key in each window they belong to."""

    def __init__(self, fold: Fold, windows: TimeWindows, options: TableOptions, window_options: WindowOptions) -> None:
        super().__init__(fold, options, window_options)
        self._windows = windows

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._store.write_back = self._states

    def process(self, batch: Batch) -> None:
        if None in batch.keys:
            chosen = [key is not None for key in batch.keys]
            self.context.drop(self, "null-key", chosen.count(False))
            batch = batch.where(chosen)
            if not len(batch):
                return
        raw_keys = batch.raw_keys or self._store.key.encode_many(batch.keys, self._store.topic)
        items = self._fold.items(batch)
        if self._on_columns(batch, raw_keys, items):
            self._full()
            return
        if (self._fold.adds or self._fold.counts) and self._cached and not self._window_options.on_close:
            self._quickly(batch, raw_keys, items)
            return
        late: list[int] = []
        lost = 0
        for index, stamp in enumerate(batch.timestamps):
            close_time = self.observe(stamp, items[index]) - self._windows.grace_ms
            for start in self._windows.starts(stamp):
                if start + self._windows.size_ms > close_time:
                    self._step(batch, index, raw_keys[index], items[index], start)  # type: ignore[arg-type]
                else:
                    lost += 1
                    if not late or late[-1] != index:
                        late.append(index)
            if self._window_options.on_close:
                self.emit_closed(close_time - self._windows.size_ms)
            elif not self._cached:
                self.flush()
        self.put_aside(batch, late, lost)
        self._full()

    def _on_columns(self, batch: Batch, raw_keys: Sequence[Any], items: Sequence[Any]) -> bool:
        """All records at once, where each falls into one window and none is late; False, with nothing done, where they
        have to be looked at one by one."""
        size, stamps = self._windows.size_ms, batch.timestamps
        if not (self._fold.on_columns and self._cached and self._windows.advance_ms == size):
            return False
        if self._window_options.on_close or None in items or not crowded(raw_keys):
            return False
        time = max(self.time_ms, max(stamps))
        first = min(stamps)
        if first - first % size + size <= time - self._windows.grace_ms:
            return False
        starts = [stamp - stamp % size for stamp in stamps]
        # What stands before and behind the key in the store, by start.
        around = {start: (self._store.segments.prefix(start), self._store.tail(start)) for start in set(starts)}
        if not all(map(self._store.segments.observe, sorted(around, reverse=True))):
            return False
        windows = [
            before + key + behind
            for key, (before, behind) in zip(raw_keys, map(around.__getitem__, starts), strict=True)
        ]
        groups = grouped(windows, items)
        rows = dict(zip(windows, range(len(windows)), strict=True))
        self._read(
            {
                raw: Windowed(batch.keys[row], Window(starts[row], starts[row] + size))
                for raw, row in rows.items()
                if raw not in self._states.entries
            }
        )
        if not self._taken_in(groups, latest(windows, stamps)):
            return False
        self.context.times[self.name] = time
        return True

    def _quickly(self, batch: Batch, raw_keys: Sequence[Any], items: Sequence[Any]) -> None:
        """Sums and counts one by one, but without looking at their options for each."""
        counts = self._fold.counts
        size, grace, starts = self._windows.size_ms, self._windows.grace_ms, self._windows.starts
        entries, touch = self._states.entries, self._states.touch
        time = self.time_ms
        around: dict[int, tuple[bytes, bytes]] = {}  # what stands before and behind the key in the store, by start
        late: list[int] = []
        lost = 0
        for index, (raw_key, item, stamp) in enumerate(zip(raw_keys, items, batch.timestamps, strict=True)):
            if stamp > time:
                time = stamp
            for start in starts(stamp):
                if start + size <= time - grace:
                    lost += 1
                    if not late or late[-1] != index:
                        late.append(index)
                    continue
                place = around.get(start)
                if place is None:
                    place = around[start] = self._store.segments.prefix(start), self._store.tail(start)
                entry = entries.get(place[0] + raw_key + place[1])
                if entry is None:
                    if not self._store.segments.observe(start):
                        continue
                    window = Window(start, start + size)
                    entry = self._entry(place[0] + raw_key + place[1], Windowed(batch.keys[index], window))
                state = entry.value
                if state is None:
                    if item is None and not counts:
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
        self.context.times[self.name] = time
        self.put_aside(batch, late, lost)
        self._full()

    def _step(self, batch: Batch, index: int, raw_key: bytes, item: Any, start: int) -> None:
        key, stamp = batch.keys[index], batch.timestamps[index]
        raw = self._store.raw_key(raw_key, start)
        entry = self._states.entries.get(raw)
        if entry is None:
            if not self._store.segments.observe(start):
                return
            entry = self._entry(raw, Windowed(key, Window(start, start + self._windows.size_ms)))
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
        if self._window_options.on_close:
            self.closing().add(start, raw, entry.key)

    def flush(self) -> None:
        if not self._window_options.on_close:
            super().flush()
        elif self._states.changed:
            self._states.settle(self._states.take())

    def _held(self) -> list[tuple[int, bytes, Any]]:
        size = self._windows.size_ms
        close_time = self.time_ms - self._windows.grace_ms - size
        return [
            (start, self._store.raw_key(self._store.key.encode(key, self._store.topic), start),
             Windowed(key, Window(start, start + size)))
            for (key, start), _ in self._store.all()
            if start > close_time
        ]  # fmt: skip
