"""The thread that makes writes durable: group fsync, off the event loop.

Everything that waits for durability while a sync runs is covered by the next one, so many acknowledgements share one
trip to the disk. A failed fsync is fatal: the kernel may have dropped the dirty pages, so nothing written since
the last good sync may ever be acknowledged, and asking again would falsely succeed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Protocol

Callback = Callable[[], None]


class Syncable(Protocol):
    """What can be made durable."""

    def mark(self) -> object:
        """Where the written data ends now. Called in the flusher's thread; must be one atomic read."""

    def sync(self) -> None:
        """Makes everything written up to the mark durable; raises OSError. Called in the flusher's thread."""

    def synced(self, mark: object) -> None:
        """The data up to `mark` is durable. Called in the event loop's thread."""


class Flusher:
    """Syncs what `flush` names, then runs the callbacks in the event loop.

    Args:
        post: Runs a function in the event loop's thread; callable from any thread.
        failed: Called in the event loop's thread with the OSError of a failed sync.
    """

    def __init__(self, post: Callable[[Callback], None], failed: Callable[[OSError], None]) -> None:
        self._post = post
        self._failed = failed
        self._condition = threading.Condition()
        self._waiting: dict[Syncable, list[Callback]] = {}
        self._busy = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="flusher", daemon=True)
        self._thread.start()

    def flush(self, what: Syncable, done: Callback | None = None) -> None:
        """Makes everything written to `what` so far durable, then calls `done` in the event loop."""
        with self._condition:
            callbacks = self._waiting.setdefault(what, [])
            if done is not None:
                callbacks.append(done)
            self._condition.notify()

    def close(self) -> None:
        """Syncs what is still waiting and ends the thread. Callbacks of that last round are posted as ever."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._closed:
                    self._condition.wait()
                if not self._waiting:
                    return
                group, self._waiting = self._waiting, {}
            marks: list[tuple[Syncable, object]] = []
            try:
                for what in group:
                    marks.append((what, what.mark()))
                    what.sync()
            except OSError as error:
                self._post(partial(self._failed, error))
                return
            self._post(_Completion(marks, group))


class _Completion:
    """Tells, in the event loop, what a round of syncs has made durable."""

    __slots__ = ("group", "marks")

    def __init__(self, marks: list[tuple[Syncable, object]], group: dict[Syncable, list[Callback]]) -> None:
        self.marks = marks
        self.group = group

    def __call__(self) -> None:
        for what, mark in self.marks:
            what.synced(mark)
        for callbacks in self.group.values():
            for callback in callbacks:
                callback()
