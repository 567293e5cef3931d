"""Brings stores to where their changelogs are, on a thread of its own: other tasks go on meanwhile."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ottla.errors import BrokerUnavailable, KafkaError
from ottla.kafka.stream_clients import PARTITION_EOF, Consumer, TopicPartition, fetch_also
from ottla.streams.stores.committed import CommittedStore

Place = tuple[str, int]

BATCH = 5_000
WAIT_S = 0.05
COMMITTED_S = 1.0
AGAIN_S = 0.2
LOOK_S = 0.5
LOOK_TIMEOUT_S = 2.0


@dataclass
class Restoration:
    """One task's way to its committed state.

    Attributes:
        task: Its name.
        sources: The partitions it reads: their committed offsets are part of the state.
        stores: Changelog partition to the store that is filled from it.
        committed: Source partition to (offset, metadata), for those that have one; set before `done`.
        done: The stores hold all that was committed.
        standby: It is never done: a copy is kept warm.
    """

    task: str
    sources: list[Place]
    stores: dict[Place, CommittedStore]
    committed: dict[Place, tuple[int, str | None]] | None = None
    done: threading.Event = field(default_factory=threading.Event)
    given_up: bool = False
    standby: bool = False
    started_at: float = field(default_factory=time.monotonic)


class Followed:
    """A changelog partition that is being read into a store."""

    def __init__(self, place: Place, store: CommittedStore, restoration: Restoration) -> None:
        self.place = place
        self.store = store
        self.restoration = restoration
        self.start = self.position = 0
        self.records = 0
        self.end = 0
        """Where it ended when it was looked at first: all that was committed before lies below."""
        self.caught_up = False
        self.seen_at = 0.0
        """When the position was last known to be the end, by the monotonic clock."""

    @property
    def remaining(self) -> int:
        return 0 if self.caught_up else max(0, self.end - self.position)


@dataclass(frozen=True)
class Progress:
    """How far the restoration of one changelog partition is.

    Attributes:
        standby: Whether it is a copy kept warm, and not a task that waits.
        start, position, end: Offsets; what was restored is `position - start`.
        caught_up: Whether the end was reached at least once.
        behind_s: Seconds since it was last known to have everything; None: never.
    """

    task: str
    topic: str
    partition: int
    standby: bool
    start: int
    position: int
    end: int
    caught_up: bool
    behind_s: float | None


class Restorer:
    """Reads changelogs into stores. Its methods may be called from any thread.

    What is committed when a restoration ends: the group's offsets are read first (that waits until no transaction
    over them is undecided), then the changelog's end, then everything below that end that is committed. So the stores
    hold every change whose offset is committed, also where a transaction's markers have reached the one and not yet
    the other.

    Args:
        open_consumer: Makes the consumer, of the application's group, to be assigned by hand.
        open_looker: Makes the consumer that is asked where changelogs begin and end, committed or not.
        on_restored: Told (task, records, seconds) when one is done. Called on this thread.
    """

    def __init__(
        self,
        open_consumer: Callable[[], Consumer],
        open_looker: Callable[[], Consumer],
        *,
        on_restored: Callable[[str, int, float], None],
    ) -> None:
        self._open_consumer = open_consumer
        self._open_looker = open_looker
        self._on_restored = on_restored
        self._log = logging.getLogger("ottla.streams")
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._open: list[Restoration] = []
        self._followed: dict[Place, Followed] = {}
        self._consumer: Any = None
        self._looker: Any = None
        self._known: set[str] = set()
        self._next_look = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ottla-streams-restore", daemon=True)
        self.trouble: str | None = None
        self.died: str | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; restorations that are not done never will be."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def restore(self, restoration: Restoration) -> None:
        """Begins a restoration; its `done` is set when it is over."""
        self._orders.put(lambda: self._open.append(restoration))

    def follow(self, task: str, stores: Mapping[Place, CommittedStore]) -> None:
        """Keeps stores as their changelogs are, until `release`: a standby."""
        self.restore(Restoration(task, [], dict(stores), standby=True))

    def release(self, places: list[Place]) -> None:
        """Writes nothing more to the stores of these changelog partitions. Waits until that is sure."""
        if not places or not self._thread.is_alive():
            return
        done = threading.Event()

        def let_go() -> None:
            for restoration in self._open:
                if set(restoration.stores) & set(places):
                    restoration.given_up = True
            self._open = [one for one in self._open if not one.given_up]
            self._unassign([place for place in places if place in self._followed])
            done.set()

        self._orders.put(let_go)
        while not done.wait(0.1):
            if not self._thread.is_alive():
                return

    def progress(self) -> list[Progress]:
        """How far everything is that is being read now."""
        now = time.monotonic()
        return [
            Progress(
                task=one.restoration.task,
                topic=one.place[0],
                partition=one.place[1],
                standby=one.restoration.standby,
                start=one.start,
                position=one.position,
                end=max(one.end, one.position),
                caught_up=one.caught_up,
                behind_s=now - one.seen_at if one.seen_at else None,
            )
            for one in list(self._followed.values())
        ]

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            self._consumer, self._looker = self._open_consumer(), self._open_looker()
            while not self._stop.is_set():
                self._obey()
                self._try_begin()
                self._read()
                self._look_at_ends()
        except BaseException as error:
            self.died = f"the restoring thread ended: {type(error).__name__}: {error}"
            self._log.critical("%s", self.died, exc_info=error)
        finally:
            for client in (self._consumer, self._looker):
                if client is not None:
                    client.close()

    def _obey(self) -> None:
        while True:
            try:
                order = self._orders.get_nowait() if self._followed or self._open else self._orders.get(timeout=WAIT_S)
            except queue.Empty:
                return
            order()

    def _try_begin(self) -> None:
        for restoration in [one for one in self._open if one.committed is None]:
            try:
                restoration.committed = self._committed(restoration.sources)
                self._begin(restoration)
                self.trouble = None
            except Exception as error:
                restoration.committed = None
                self.trouble = f"task {restoration.task} waits for its state: {error}"
                self._log.debug("%s", self.trouble)
                self._stop.wait(AGAIN_S)

    def _committed(self, places: list[Place]) -> dict[Place, tuple[int, str | None]]:
        """Read with `isolation.level=read_committed`, so that it does not answer while a transaction is undecided."""
        if not places:
            return {}
        found = self._consumer.committed([TopicPartition(*place) for place in places], timeout=COMMITTED_S)
        for one in found:
            if one.error:
                raise KafkaError(f"the committed offset of {one.topic}[{one.partition}]: {one.error}")
        return {(one.topic, one.partition): (one.offset, one.metadata) for one in found if one.offset >= 0}

    def _begin(self, restoration: Restoration) -> None:
        self._follow(restoration, restoration.stores)
        behind = sum(self._followed[place].remaining for place in restoration.stores)
        if behind > len(restoration.stores) and not restoration.standby:  # the last transaction's end is no record
            self._log.info("task %s: restoring, about %d records behind", restoration.task, behind)
        self._settle(restoration)

    def _follow(self, restoration: Restoration, stores: Mapping[Place, CommittedStore]) -> None:
        # Not by an admin client: its requests can abort the process when a broker goes (librdkafka issue 4605).
        bounds = {
            place: self._looker.get_watermark_offsets(TopicPartition(*place), timeout=LOOK_TIMEOUT_S)
            for place in stores
        }
        if unknown := [place for place, found in bounds.items() if found is None]:
            raise BrokerUnavailable(
                f"where {unknown[0][0]}[{unknown[0][1]}] ends is not known within {LOOK_TIMEOUT_S:g} s"
            )
        fresh = []
        for place, store in stores.items():
            one = Followed(place, store, restoration)
            earliest, one.end = bounds[place]
            known = store.changelog_offset
            if known is not None and not earliest <= known <= one.end:
                self._log.warning(
                    "the store of %s[%d] knows its changelog up to offset %d, but that has %d to %d: restored anew",
                    *place, known, earliest, one.end,
                )  # fmt: skip
                store.clear()
                known = None
            one.start = one.position = earliest if known is None else known
            fresh.append(one)
        for one in fresh:
            self._followed[one.place] = one
        fetch_also(self._consumer, [TopicPartition(*one.place, one.position) for one in fresh], self._known)

    def _read(self) -> None:
        if not self._followed:
            return
        first = self._consumer.poll(WAIT_S)
        if first is None:
            return
        changes: dict[Place, dict[bytes, bytes | None]] = {}
        ends: dict[Place, int] = {}
        counts: Counter[Place] = Counter()
        for message in (first, *self._consumer.consume(BATCH, 0)):
            place = message.topic(), message.partition()
            error = message.error()
            if error is None:
                key = message.key()
                if key is not None:
                    changes.setdefault(place, {})[key] = message.value()
                    counts[place] += 1
                ends[place] = message.offset() + 1
            elif error.code() == PARTITION_EOF:
                ends[place] = message.offset()
                if (one := self._followed.get(place)) is not None:
                    one.seen_at = time.monotonic()
                    one.caught_up = one.caught_up or message.offset() >= one.end
            else:
                self._faulty(place, error)
        for place, end in ends.items():
            one = self._followed.get(place)
            if one is None:
                continue
            if end > one.position:
                one.store.apply(changes.get(place, {}), end)
                one.records += counts[place]
                one.position = end
            self._settle(one.restoration)

    def _look_at_ends(self) -> None:
        """The client library tells of an end once, and then nothing while nothing comes: copies would seem to age."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        for one in self._followed.values():
            if one.caught_up:
                _, end = self._consumer.get_watermark_offsets(TopicPartition(*one.place), cached=True)
                if 0 <= end <= one.position:
                    one.seen_at = now

    def _faulty(self, place: Place, error: Any) -> None:
        one = self._followed.get(place)
        if one is None or error.retriable():
            return
        self._log.warning("changelog %s[%d]: %s; its store is restored anew", *place, error)
        self._unassign([place])
        one.store.clear()
        self._follow(one.restoration, {place: one.store})

    def _settle(self, restoration: Restoration) -> None:
        if restoration.standby or restoration.done.is_set():
            return
        mine = [self._followed[place] for place in restoration.stores if place in self._followed]
        if len(mine) < len(restoration.stores) or not all(one.caught_up for one in mine):
            return
        self._unassign([one.place for one in mine])
        if restoration in self._open:
            self._open.remove(restoration)
        self._on_restored(restoration.task, sum(one.records for one in mine), time.monotonic() - restoration.started_at)
        restoration.done.set()

    def _unassign(self, places: list[Place]) -> None:
        if places:
            self._consumer.incremental_unassign([TopicPartition(*place) for place in places])
            for place in places:
                self._followed.pop(place, None)
