"""The state in force, and the one way to change it: decide, write to the log, see it applied."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...errors import RegistryRejected
from . import faults
from .log import EntryTooLarge, LogUnavailable, SchemaLog
from .records import Entry, decode
from .store import Store, complain


class State:
    """Guards the store. Reads come from any thread; writes are decided one at a time.

    Reads follow writes: `write` returns when the log's reader has applied what it wrote. While the log is read again
    from the beginning (a broker came back) the state from before stays in force.

    One instance per topic: ids are decided here, from the log's content. A second writer is detected when its records
    contradict ours (see `Store.apply`), complained about on stderr, and refused to our own client by `Registry`.
    """

    def __init__(self, log: SchemaLog) -> None:
        self._log = log
        self._lock = threading.RLock()
        self._deciding = threading.Lock()
        self._current: Store | None = None
        self._loaded = threading.Event()
        self._loading = Store()
        self._highest_id_tried = 0

    def start(self) -> None:
        self._log.start(self)

    def close(self) -> None:
        self._log.close()

    @property
    def loaded(self) -> bool:
        """Whether everything stored has been read once."""
        return self._loaded.is_set()

    def wait_until_loaded(self, timeout_s: float) -> bool:
        return self._loaded.wait(timeout_s)

    def problem(self) -> str | None:
        """Why requests cannot be answered now, in words; None if they can."""
        if self._current is None:
            return self._log.problem() or "reading the stored schemas"
        return self._log.problem()

    @contextmanager
    def reading(self) -> Iterator[Store]:
        """The store, for looking at within the block.

        Raises:
            RegistryRejected: 50001: nothing has been read yet.
        """
        with self._lock:
            if self._current is None:
                raise RegistryRejected(
                    f"The registry is not ready: {self.problem()}. Try again in a moment.", status=503, code=50001
                )
            yield self._current

    def write(
        self, decide: Callable[[Store], list[Entry]], confirm: Callable[[Store], None] = lambda _store: None
    ) -> None:
        """Calls `decide` on a store that nobody else is about to change, writes what it returns, sees it applied.

        `confirm` then looks at the outcome, still before any other write of this instance.

        Raises:
            RegistryRejected: What `decide` raises; 50001, 50002: the log failed; 42209: too large for it.
        """
        with self._deciding:
            with self.reading():
                pass  # not ready is told at once, not after a wait
            try:
                # An earlier write that was never confirmed may still arrive. Deciding before its fate is known could
                # give the same id or version to two schemas.
                self._log.settle()
                with self.reading() as store:
                    entries = decide(store)
                if entries:
                    self._log.append(entries)
                    with self.reading() as store:
                        confirm(store)
            except EntryTooLarge as error:
                raise faults.schema_too_large(str(error)) from error
            except LogUnavailable as error:
                raise (faults.store_timed_out if error.timed_out else faults.store_failed)(str(error)) from error

    def next_id(self, store: Store) -> int:
        """An id never given out. Only within `decide`.

        Also ids of writes that failed count as given out: such a write may have reached the log all the same.
        """
        self._highest_id_tried = max(self._highest_id_tried, store.highest_id) + 1
        return self._highest_id_tried

    # What follows is called by the log's reading thread.

    def restart(self) -> None:
        self._loading = Store()

    def apply(self, entry: Entry, offset: int) -> None:
        try:
            change = decode(entry)
        except ValueError as error:
            complain(f"offset {offset} is passed over, it is not in the registry's format: {error}")
            return
        if change is None:
            return
        with self._lock:
            complaint = self._loading.apply(change)
        if complaint is not None:
            complain(f"offset {offset}: {complaint}. Does another registry write to the same topic? Only one may.")

    def caught_up(self) -> None:
        with self._lock:
            before, self._current = self._current, self._loading
        if before is not None and before.highest_id > self._loading.highest_id:
            complain(
                f"the log was emptied or replaced: it held ids up to {before.highest_id}, now up to "
                f"{self._loading.highest_id}. Restart the services, so that they register their schemas again"
            )
        self._loaded.set()
