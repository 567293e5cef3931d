"""Aggregation by key and sliding window: every window that some set of records at most `difference` apart makes.

For a record at t there is the window that ends with it ([t - difference, t]) and, once something lies in it, the window
that begins right after it ([t + 1, t + 1 + difference]). Updates come in the order Kafka Streams makes them.
"""

from __future__ import annotations

from typing import Any

from ottla.streams.folds import Fold
from ottla.streams.operators.aggregation import Collected, with_key_and_value
from ottla.streams.operators.batch import Batch
from ottla.streams.operators.tables import TableOptions
from ottla.streams.operators.windowed import WindowOperator, WindowOptions
from ottla.streams.stores.timestamped import Stamped
from ottla.streams.windows import SlidingWindows, Window, Windowed


class SlidingAggregate(WindowOperator):
    """Records into the state of their key in each sliding window they belong to. The store holds states at once; what
    is handed on waits for a flush where caches are on."""

    def __init__(
        self, fold: Fold, windows: SlidingWindows, options: TableOptions, window_options: WindowOptions
    ) -> None:
        super().__init__(fold, options, window_options)
        self._windows = windows
        self._waiting: dict[bytes, list[Any]] = {}

    def process(self, batch: Batch) -> None:
        batch = with_key_and_value(self, batch)
        if not len(batch):
            return
        raw_keys = batch.raw_keys or self._store.key.encode_many(batch.keys, self._store.topic)
        items = self._fold.items(batch)
        late: list[int] = []
        for index, stamp in enumerate(batch.timestamps):
            close_time = self.observe(stamp, items[index]) - self._windows.grace_ms
            if stamp + 1 + self._windows.difference_ms < close_time:
                late.append(index)
            else:
                raw = raw_keys[index]
                assert raw is not None
                step = _Step(self, batch, index, raw, items[index], close_time)
                try:
                    (step.early if stamp < self._windows.difference_ms else step.usual)()
                except Exception as error:
                    self.context.failed(self, batch, index, error)
            if self._window_options.on_close:
                self.emit_closed(close_time - self._windows.difference_ms - 1)
            elif not self._cached:
                self.flush()
        self.put_aside(batch, late)

    def put(self, raw_key: bytes, key: Any, start: int, old: Any, new: Stamped[Any]) -> None:
        """Writes a window and notes that it has changed."""
        self._store.put_raw(raw_key, new.value, start, new.timestamp_ms)
        raw = self._store.raw_key(raw_key, start)
        windowed = Windowed(key, Window(start, start + self._windows.difference_ms))
        if self._window_options.on_close:
            self.closing().add(start, raw, windowed)
            return
        if not self._cached:
            raw += len(self._waiting).to_bytes(4, "big")  # every change comes out
        waiting = self._waiting.get(raw)
        if waiting is None:
            self._waiting[raw] = [windowed, new.value, old, new.timestamp_ms]
        else:
            waiting[1], waiting[3] = new.value, new.timestamp_ms

    def flush(self) -> None:
        if not self._waiting:
            return
        out = Collected(self._options.sends_old)
        for key, new, old, stamp in self._waiting.values():
            result = self._fold.result
            out.add(key, None if new is None else result(new), None if old is None else result(old), stamp)
        self._waiting = {}
        self.forward(out.batch())

    def _held(self) -> list[tuple[int, bytes, Any]]:
        difference = self._windows.difference_ms
        close_time = self.time_ms - self._windows.grace_ms - difference - 1
        return [
            (start, self._store.raw_key(self._store.key.encode(key, self._store.topic), start),
             Windowed(key, Window(start, start + difference)))
            for (key, start), _ in self._store.all()
            if start > close_time
        ]  # fmt: skip

    @property
    def difference_ms(self) -> int:
        return self._windows.difference_ms

    @property
    def fold(self) -> Fold:
        return self._fold

    @property
    def store(self) -> Any:
        return self._store


class _Step:
    """What one record does to the windows of its key."""

    def __init__(
        self, owner: SlidingAggregate, batch: Batch, index: int, raw: bytes, item: Any, close_time: int
    ) -> None:
        self.owner = owner
        self.key = batch.keys[index]
        self.stamp = batch.timestamps[index]
        self.raw = raw
        self.item = item
        self.close_time = close_time
        self.difference = owner.difference_ms
        self.starts: set[int] = set()

    def usual(self) -> None:
        """A record that has a whole window before it. Windows are visited from the newest back."""
        stamp = self.stamp
        left: Stamped[Any] | None = None
        right: Stamped[Any] | None = None
        left_exists = right_exists = False
        previous: int | None = None
        found = list(
            self.owner.store.fetch_range_raw(self.raw, max(0, stamp - 2 * self.difference), stamp + 1, reverse=True)
        )
        for start, held in found:
            self.starts.add(start)
            end = start + self.difference
            if start == stamp + 1:
                right_exists = True
            elif end > stamp:
                right = right or held
                self._update(start, held)
            elif end == stamp:
                left_exists = True
                self._update(start, held)
                if held.timestamp_ms >= stamp:
                    return
                previous = held.timestamp_ms
            else:
                left, previous = held, held.timestamp_ms
                break
        if previous is not None:
            after = previous + 1
            if after not in self.starts and after + self.difference >= stamp:
                self._update(after, None)
        if not left_exists:
            has_left = previous is not None and stamp - self.difference <= previous
            self._update(stamp - self.difference, left if has_left else None)
        self._make_right(right, right_exists)

    def early(self) -> None:
        """A record near time 0: all that lie there share the window that begins with 0."""
        combined: Stamped[Any] | None = None
        right: Stamped[Any] | None = None
        right_exists = False
        previous: int | None = None
        for start, held in list(self.owner.store.fetch_range_raw(self.raw, 0, self.stamp + 1)):
            self.starts.add(start)
            if start == 0:
                combined = held
                if held.timestamp_ms < self.stamp:
                    previous = held.timestamp_ms
            elif start <= self.stamp:
                right = held
                self._update(start, held)
            else:
                right_exists = True
        if right is None and combined is not None and combined.timestamp_ms > self.stamp:
            right = combined
        self._make_right(right, right_exists)
        if previous is not None and previous + 1 not in self.starts:
            self._update(previous + 1, None)
        self._update(0, combined)

    def _update(self, start: int, held: Stamped[Any] | None) -> None:
        if start + self.difference < self.close_time:
            self.owner.context.drop(self.owner, "late")
            return
        value = None if held is None else held.value
        new = self.owner.fold.step(self.key, value, self.item)
        stamp = self.stamp if held is None else max(self.stamp, held.timestamp_ms)
        self.owner.put(self.raw, self.key, start, value, Stamped(new, stamp))

    def _make_right(self, right: Stamped[Any] | None, exists: bool) -> None:
        """The window that begins right after the record, where newer records lie in it already."""
        if exists or right is None or right.timestamp_ms <= self.stamp:
            return
        self.owner.put(self.raw, self.key, self.stamp + 1, None, right)
