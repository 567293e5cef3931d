"""The state in force, and the one way to change it: decide, write to the log, see it applied."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ...errors import RegistryRejected
from . import faults, names
from .leadership import Elsewhere, Leadership
from .log import EntryTooLarge, LogUnavailable, SchemaLog
from .records import Entry, Note, decode
from .store import Store, complain

_LOST_RACES_MAX = 5


class State:
    """Guards the store. Reads come from any thread; writes are decided one at a time.

    Reads follow writes: `write` returns when the log's reader has applied what it wrote. While the log is read again
    from the beginning (a broker came back) the state from before stays in force.

    Args:
        log: Where everything is kept.
        url: Where other instances on the same log reach this one. None: there are none, and nothing is announced.
        read_only: Refuse every write.
    """

    def __init__(self, log: SchemaLog, url: str | None = None, *, read_only: bool = False) -> None:
        self._read_only = read_only
        self._log = log
        self._lock = threading.RLock()
        self._deciding = threading.Lock()
        self._current: Store | None = None
        self._loaded = threading.Event()
        self._loading = Store()
        self._ids_tried: dict[str, int] = {}
        self._refused = 0  # entries of ours that came after another leader's announcement
        self.leadership = Leadership(url)

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

        `decide` may be called more than once: where another instance took over before the entries were in the log,
        they count for nothing. `confirm` then looks at the outcome, still before any other write of this instance.

        Raises:
            Elsewhere: Another instance decides.
            RegistryRejected: What `decide` raises; 50001, 50002: the log failed; 42209: too large for it.
        """
        if self._read_only:
            raise faults.not_permitted("This registry was started read-only; ask another instance")
        with self._deciding:
            with self.reading():
                pass  # not ready is told at once, not after a wait
            try:
                for _race in range(_LOST_RACES_MAX):
                    if self._written(decide, confirm):
                        return
            except EntryTooLarge as error:
                raise faults.schema_too_large(str(error)) from error
            except LogUnavailable as error:
                raise (faults.store_timed_out if error.timed_out else faults.store_failed)(str(error)) from error
            raise faults.no_leader("other instances took over again and again")

    def _written(self, decide: Callable[[Store], list[Entry]], confirm: Callable[[Store], None]) -> bool:
        # An earlier write that was never confirmed may still arrive. Deciding before its fate is known could give the
        # same id or version to two schemas.
        self._log.settle()
        self._lead()
        with self.reading() as store:
            entries = decide(store)
            repairs = _repairs(store) if entries else []
        if not entries:
            return True
        refused = self._refused
        self._append([*repairs, *entries])
        if self._refused != refused:
            return False
        with self.reading() as store:
            confirm(store)
        return True

    def _lead(self) -> None:
        """Sees that this instance is the one that writes."""
        with self.reading() as store:
            announcement = self.leadership.announcement(store)
        if announcement is not None:
            self._append([announcement])
            with self.reading() as store:
                self.leadership.require(store)

    def _append(self, entries: list[Entry]) -> None:
        token = self.leadership.token
        self._log.append([replace(entry, leader=token) for entry in entries])

    def next_id(self, store: Store, context: str) -> int:
        """An id never given out in a context. Only within `decide`.

        Also ids of writes that failed count as given out: such a write may have reached the log all the same.
        """
        found = max(self._ids_tried.get(context, 0), store.ids(context).highest) + 1
        self._ids_tried[context] = found
        return found

    # Other instances

    def position(self) -> int:
        """How far the log is applied: the offset of the next entry."""
        return self._log.position()

    def wait_for(self, position: int, timeout_s: float) -> bool:
        """Waits until the log is applied that far; False if it was not in time."""
        return self._log.wait_for(position, timeout_s)

    def follows(self) -> bool:
        """Whether another instance writes, so that what it has just written may not be applied here yet."""
        with self._lock:
            leader = self._current.leader if self._current is not None else None
        return leader is not None and self.leadership.url is not None and leader.token != self.leadership.token

    def catch_up(self, timeout_s: float = 2.0) -> None:
        """Applies what is in the log by now, if that can be had in time."""
        deadline = time.monotonic() + timeout_s
        end = self._log.end(timeout_s)
        if end is not None:
            self._log.wait_for(end, deadline - time.monotonic())

    # What follows is called by the log's reading thread.

    def restart(self) -> None:
        self._loading = Store()

    def apply(self, entry: Entry, offset: int) -> None:
        try:
            change = decode(entry)
        except ValueError as error:
            complain(f"offset {offset} is passed over, it is not in the registry's format: {error}")
            return
        with self._lock:
            complaint = self._apply(entry, change)
        if complaint is not None:
            complain(f"offset {offset}: {complaint}. Does a registry of another make write to the same topic?")

    def _apply(self, entry: Entry, change: object) -> str | None:
        store = self._loading
        announced = isinstance(change, Note) and change.leader is not None and entry.leader not in store.former
        if entry.leader is not None and not announced and store.leader and entry.leader != store.leader.token:
            # Written by an instance that did not know yet that another had taken over. All instances see both in this
            # order, so all pass it over; whoever leads puts its key right, for compaction keeps the last record only.
            store.void[entry.key] = None
            self._refused += entry.leader == self.leadership.token
            return None
        store.void.pop(entry.key, None)
        if entry.value is None:
            store.values.pop(entry.key, None)
        else:
            store.values[entry.key] = entry.value
        return None if change is None else store.apply(change)  # type: ignore[arg-type]  # decode gave it

    def caught_up(self) -> None:
        with self._lock:
            before, self._current = self._current, self._loading
        lost = {
            context: highest
            for context, highest in (before.highest_ids() if before is not None else {}).items()
            if highest > self._loading.ids(context).highest
        }
        if lost:
            here = lost.get(names.DEFAULT, 0)
            complain(
                f"the log was emptied or replaced: it held ids up to {here or max(lost.values())}, now up to "
                f"{self._loading.ids(names.DEFAULT).highest}. Restart the services, so that they register their "
                f"schemas again"
            )
        self._loaded.set()


def _repairs(store: Store) -> list[Entry]:
    """What was in force before records of a former leader came too late."""
    return [Entry(key, store.values.get(key)) for key in store.void]


__all__ = ["Elsewhere", "State"]
