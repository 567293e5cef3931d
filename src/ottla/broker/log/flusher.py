"""The threads that make writes durable: group fsync, off the event loop.

Whatever waits for a file while that file is being synced is covered by its next sync, so many acknowledgements share
one trip to the disk. Different files are synced at the same time: a file system commits its journal once for all of
them, and eight files one after another were measured to take fifteen times as long.

A single file on a quick disk is synced by the event loop itself: waking a thread and being woken by it takes as long
there as the sync, and longer when the processors are busy. Requests that arrive meanwhile share the next one. A sync of
some megabytes takes longer: the loop does that, too, as long as nothing arrives meanwhile, as with a single producer
that waits for each acknowledgement; else the threads do, and the loop takes in the next requests.

A failed fsync is fatal: the kernel may have dropped the dirty pages, so nothing written since the last good sync may
ever be acknowledged, and asking again would falsely succeed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

Callback = Callable[[], None]

THREADS_MAX = 8
QUICK_SECONDS = 0.0005  # up to this the loop syncs by itself
BEARABLE_SECONDS = 0.004  # up to this it does while nobody else wants anything
CROWDED_SYNCS = 16  # for how many syncs somebody counts who did
SAMPLES_MIN = 8  # before that many syncs a disk counts as slow

logger = logging.getLogger("ottla.broker")


class Syncable(Protocol):
    """What can be made durable."""

    def mark(self) -> object:
        """Where the written data ends now. Called in a flusher's thread; must be one atomic read."""

    def sync(self) -> None:
        """Makes everything written up to the mark durable; raises OSError. Called in one flusher's thread at a time."""

    def synced(self, mark: object) -> None:
        """The data up to `mark` is durable. Called in the event loop's thread."""


class Flusher:
    """Syncs what `flush` names, then runs the callbacks in the event loop.

    A callback comes after a sync that began after its `flush`, and while no other sync of the same thing runs: whoever
    wants to close a file waits for one. Threads are started as they are needed.

    Args:
        post: Runs a function in the event loop's thread; callable from any thread.
        failed: Called in the event loop's thread with the OSError of a failed sync.
        clock: Seconds, to tell quick disks from slow ones.

    Attributes:
        syncs, sync_seconds: How many syncs there were, and their time in all (they overlap).
    """

    def __init__(
        self,
        post: Callable[[Callback], None],
        failed: Callable[[OSError], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._post = post
        self._failed = failed
        self._clock = clock
        self._condition = threading.Condition()
        self._gathered: dict[Syncable, list[Callback]] = {}
        self._waiting: dict[Syncable, list[Callback]] = {}
        self._syncing: set[Syncable] = set()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self.syncs = 0
        self.sync_seconds = 0.0
        self._usual_seconds = 0.0  # of a sync, lately
        self._crowd = 0  # counts down from when something arrived during a sync
        self._synced_here = False  # in the last turn
        self._flushes = 0
        self._closed = False
        self._broken = False

    def flush(self, what: Syncable, done: Callback | None = None) -> None:
        """Makes everything written to `what` so far durable, then calls `done` in the event loop.

        Takes effect with the next `submit`. Both belong to the event loop's thread.
        """
        self._flushes += 1
        callbacks = self._gathered.setdefault(what, [])
        if done is not None:
            callbacks.append(done)

    def submit(self, *, waited: bool = True) -> None:
        """Syncs what was gathered, or hands it over, once a turn of the loop: all its requests at once.

        Args:
            waited: Whether the loop had to wait for what it has just handled; else it came during the last turn.
        """
        if self._synced_here and not waited:
            self._crowd = CROWDED_SYNCS
        self._synced_here = False
        while self._gathered:  # what is called back after a sync may want another
            gathered, self._gathered = self._gathered, {}
            if len(gathered) == 1 and self._is_quick():
                self._sync_here(*gathered.popitem())
            else:
                self._hand_over(gathered)

    def _is_quick(self) -> bool:
        """Whether the loop does better without the threads: the disk is quick, and none of them is at work."""
        quick = self._usual_seconds < (BEARABLE_SECONDS if self._crowd == 0 else QUICK_SECONDS)
        at_work = self._waiting or self._syncing or self._closed or self._broken
        return quick and self.syncs >= SAMPLES_MIN and not at_work

    def _sync_here(self, what: Syncable, callbacks: list[Callback]) -> None:
        try:
            mark = what.mark()
            begun = self._clock()
            what.sync()
            self._count(self._clock() - begun)
        except OSError as error:
            self._broken = True
            self._post(partial(self._failed, error))
            return
        self._synced_here = True
        try:
            _Completion(what, mark, callbacks)()
        except Exception:
            logger.exception("what waited for a sync of %r failed", what)

    def _count(self, seconds: float) -> None:
        self.syncs += 1
        self.sync_seconds += seconds
        self._usual_seconds += (seconds - self._usual_seconds) / min(self.syncs, 20)

    def _hand_over(self, gathered: dict[Syncable, list[Callback]]) -> None:
        with self._condition:
            if self._closed or self._broken:
                return  # too late to promise anything; whoever stops the broker has synced what matters
            alone = len(gathered) == 1 and not (self._waiting or self._syncing)
            for what, callbacks in gathered.items():
                if alone:
                    callbacks.append(partial(self._look_back, self._flushes))
                self._waiting.setdefault(what, []).extend(callbacks)
                self._wake_one()

    def _look_back(self, flushes: int) -> None:
        """After the sync of a single file by a thread: whether anybody wanted another one meanwhile."""
        self._crowd = max(0, self._crowd - 1) if flushes == self._flushes else CROWDED_SYNCS

    def _wake_one(self) -> None:
        if self._idle:
            # Counted down here and not by the thread that wakes: two flushes at once must not both rely on it.
            self._idle -= 1
            self._condition.notify()
        elif len(self._threads) < THREADS_MAX:
            thread = threading.Thread(target=self._run, name=f"flusher-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Syncs what is still waiting and ends the threads. The last callbacks are posted as ever."""
        self.submit()
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while True:
            job = self._next()
            if job is None:
                return
            what, callbacks = job
            try:
                mark = what.mark()
                begun = self._clock()
                what.sync()
                took = self._clock() - begun
            except OSError as error:
                with self._condition:
                    self._broken = True
                    self._condition.notify_all()
                self._post(partial(self._failed, error))
                return
            self._post(_Completion(what, mark, callbacks))
            with self._condition:
                self._syncing.discard(what)
                self._count(took)

    def _next(self) -> tuple[Syncable, list[Callback]] | None:
        """Takes what is to be synced next and is not being synced; None when there will be nothing more."""
        with self._condition:
            while not self._broken:
                for what in self._waiting:
                    if what not in self._syncing:
                        self._syncing.add(what)
                        return what, self._waiting.pop(what)
                if self._closed and not self._waiting:
                    self._condition.notify_all()
                    return None
                self._idle += 1
                self._condition.wait()
            return None


class _Completion:
    """Tells, in the event loop, what a sync has made durable."""

    __slots__ = ("callbacks", "mark", "what")

    def __init__(self, what: Syncable, mark: object, callbacks: list[Callback]) -> None:
        self.what = what
        self.mark = mark
        self.callbacks = callbacks

    def __call__(self) -> None:
        self.what.synced(self.mark)
        for callback in self.callbacks:
            callback()
