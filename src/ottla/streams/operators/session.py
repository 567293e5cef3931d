"""Aggregation by key and session: a record may begin a session, join one, or join several to one."""

from __future__ import annotations

from typing import Any

from ottla.streams.folds import Fold
from ottla.streams.operators.aggregation import Collected
from ottla.streams.operators.batch import Batch
from ottla.streams.operators.tables import TableOptions
from ottla.streams.operators.windowed import WindowOperator, WindowOptions
from ottla.streams.stores.session import Session
from ottla.streams.windows import SessionWindows, Window, Windowed


class SessionAggregate(WindowOperator):
    """Records into the state of their session. The timestamp of a change is the end of its session."""

    def __init__(
        self, fold: Fold, windows: SessionWindows, options: TableOptions, window_options: WindowOptions
    ) -> None:
        super().__init__(fold, options, window_options)
        self._windows = windows
        self._waiting: dict[bytes, list[Any]] = {}

    def process(self, batch: Batch) -> None:
        if None in batch.keys:
            chosen = [key is not None for key in batch.keys]
            self.context.drop(self, "null-key", chosen.count(False))
            batch = batch.where(chosen)
            if not len(batch):
                return
        raw_keys = batch.raw_keys or self._store.key.encode_many(batch.keys, self._store.topic)
        items = self._fold.items(batch)
        late: list[int] = []
        for index, stamp in enumerate(batch.timestamps):
            close_time = self.observe(stamp, items[index]) - self._windows.grace_ms - self._windows.gap_ms
            raw = raw_keys[index]
            assert raw is not None
            try:
                if not self._step(batch.keys[index], raw, stamp, items[index], close_time):
                    late.append(index)
            except Exception as error:
                self.context.failed(self, batch, index, error)
            if self._window_options.on_close:
                self.emit_closed(close_time - 1)
            elif not self._cached:
                self.flush()
        self.put_aside(batch, late)

    def _step(self, key: Any, raw: bytes, stamp: int, item: Any, close_time: int) -> bool:
        """False if the record is late."""
        gap = self._windows.gap_ms
        found: list[Session[Any]] = list(self._store.find_raw(raw, stamp - gap, stamp + gap))
        start = end = stamp
        state: Any = None
        for session in found:
            state = self._fold.merge(key, state, session.value)
            start, end = min(start, session.start_ms), max(end, session.end_ms)
        if end < close_time:
            return False
        state = self._fold.step(key, state, item)
        # A session that stays as long as it is is written over; one that grew is taken away first.
        if (start, end) != (stamp, stamp):
            for session in found:
                self._put(key, raw, session.start_ms, session.end_ms, session.value, None)
        self._put(key, raw, start, end, None, state)
        return True

    def _put(self, key: Any, raw: bytes, start: int, end: int, old: Any, new: Any) -> None:
        self._store.put_raw(raw, start, end, new)
        raw_key = self._store.raw_key(raw, start, end)
        windowed = Windowed(key, Window(start, end))
        if self._window_options.on_close:
            if new is None:
                self.closing().remove(end, raw_key)
            else:
                self.closing().add(end, raw_key, windowed)
            return
        if not self._cached:
            self._waiting[raw_key + len(self._waiting).to_bytes(4, "big")] = [windowed, new, old, end]
            return
        waiting = self._waiting.pop(raw_key, None)
        if waiting is None:
            self._waiting[raw_key] = [windowed, new, old, end]
        elif new is not None or waiting[2] is not None:
            self._waiting[raw_key] = [windowed, new, waiting[2], end]

    def flush(self) -> None:
        if not self._waiting:
            return
        out = Collected(self._options.sends_old)
        result = self._fold.result
        for key, new, old, end in self._waiting.values():
            out.add(key, None if new is None else result(new), None if old is None else result(old), end)
        self._waiting = {}
        self.forward(out.batch())

    def read(self, data: bytes, key: Any) -> tuple[Any, int]:
        return self._store.value.decode(data, self._store.topic), key.window.end_ms

    def _held(self) -> list[tuple[int, bytes, Any]]:
        close_time = self.time_ms - self._windows.grace_ms - self._windows.gap_ms - 1
        return [
            (one.end_ms, self._store.raw_key(self._store.key.encode(key, self._store.topic), one.start_ms, one.end_ms),
             Windowed(key, Window(one.start_ms, one.end_ms)))
            for key, one in self._store.all()
            if one.end_ms > close_time
        ]  # fmt: skip
