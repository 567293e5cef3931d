"""A task that this instance has been given: its stores, its queues, where it stands."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ottla.streams.records import RawBatch
from ottla.streams.runtime.pace import Pace
from ottla.streams.runtime.plan import Place, Plan
from ottla.streams.runtime.queues import TaskQueues
from ottla.streams.runtime.restoration import Restoration
from ottla.streams.stores.base import BytesStore
from ottla.streams.stores.committed import CommittedStore
from ottla.streams.stores.transactional import TransactionalStore
from ottla.streams.task import Task, TaskId
from ottla.streams.topology.stores import StoreSpec

METADATA_BYTES_MAX = 4000
"""A commit's metadata holds 4096 bytes (`offset.metadata.max.bytes`)."""

MakeTask = Callable[[TaskId, Callable[[StoreSpec], BytesStore]], Task]


class State(enum.Enum):
    """What a task is waiting for."""

    CLAIMING = "its stores to open (another process on this machine may still have its folder)"
    OPEN = "its turn to be restored"
    RESTORING = "its state"
    RUNNING = "records"


class ActiveTask:
    """Belongs to the stream thread; its committed stores may be read from any."""

    def __init__(self, plan: Plan, task_id: TaskId, *, max_idle_s: float, batch_records: int) -> None:
        self.id = task_id
        self.name = str(task_id)
        self.state = State.CLAIMING
        self.places = plan.sources(task_id)
        self.stores: dict[str, TransactionalStore] = {}
        self.changelogs: dict[str, Place] = {
            spec.name: place for spec in plan.stores(task_id) if (place := plan.changelog(task_id, spec)) is not None
        }
        self.restoration: Restoration | None = None
        self.task: Task | None = None
        self.positions: dict[Place, int] = {}
        """Committed, or processed: the first offset that is not."""
        self.committed: dict[Place, int] = {}
        """What the group has of them."""
        self.dirty = False
        self.committed_at = time.monotonic()
        self._max_idle_s = max_idle_s
        self.pace = Pace(batch_records)
        self.queues = TaskQueues(self.places, max_idle_s=max_idle_s)

    def open(self, stores: Mapping[str, CommittedStore], cache_bytes: int) -> None:
        """Takes its stores."""
        self.stores = {name: TransactionalStore(store, cache_bytes=cache_bytes) for name, store in stores.items()}
        self.state = State.OPEN

    def restoring(self) -> Restoration:
        """Begins to catch up with what was committed."""
        self.restoration = Restoration(
            self.name,
            self.places,
            {place: self.stores[name].committed for name, place in self.changelogs.items()},
        )
        self.state = State.RESTORING
        return self.restoration

    def run(self, make: MakeTask) -> dict[Place, int | None]:
        """Its state is there: makes the operators. Gives the offsets to fetch from; None: nothing is committed."""
        assert self.restoration is not None
        assert self.restoration.committed is not None
        for store in self.stores.values():
            store.rollback()  # What it remembers is of before the restoration.
        task = make(self.id, lambda spec: self.stores[spec.name])
        committed = self.restoration.committed
        for _, metadata in committed.values():
            task.restore(_times(metadata))
        self.task, self.restoration = task, None
        self.positions = {place: offset for place, (offset, _) in committed.items()}
        self.committed = dict(self.positions)
        self.queues = TaskQueues(self.places, max_idle_s=self._max_idle_s, event_times=task.event_times)
        self.state, self.dirty = State.RUNNING, False
        return {place: self.positions.get(place) for place in self.places}

    @property
    def held(self) -> bool:
        """Whether an operator of it is not ready for records yet."""
        return self.task is not None and self.task.held

    def process(self, batch: RawBatch) -> None:
        """Raises as Task.process does."""
        assert self.task is not None
        self.dirty = True
        self.task.process(batch)
        self.positions[batch.topic, batch.partition] = batch.offsets[-1] + 1

    def offsets(self) -> list[tuple[Place, int, str]]:
        """What to commit: place, offset, metadata (on the first place: one task, one state)."""
        assert self.task is not None
        metadata = msgspec.json.encode(self.task.snapshot()).decode()
        if len(metadata) > METADATA_BYTES_MAX:
            metadata = msgspec.json.encode({"": self.task.stream_time_ms}).decode()
        found = []
        for place, offset in self.positions.items():
            found.append((place, offset, metadata))
            metadata = ""
        return found

    def was_committed(self, changelog_ends: dict[int, int | None]) -> None:
        """Its changes become permanent.

        Args:
            changelog_ends: By the identity of the store: the changelog's first offset behind its changes.
        """
        for store in self.stores.values():
            store.commit(changelog_ends.get(id(store)))
        self.committed = dict(self.positions)
        self.dirty, self.committed_at = False, time.monotonic()

    @property
    def uncommitted_bytes(self) -> int:
        """About how much memory uncommitted writes take."""
        return sum(store.uncommitted_bytes for store in self.stores.values())

    def halt(self) -> None:
        """Ends the operators and forgets what is not committed. The stores stay open."""
        if self.task is not None:
            task, self.task = self.task, None
            task.close()
        for store in self.stores.values():
            store.rollback()
        self.queues = TaskQueues(self.places, max_idle_s=self._max_idle_s)
        if self.state is not State.CLAIMING:
            self.state = State.OPEN
        self.restoration = None
        self.dirty = False

    def close(self) -> None:
        """Closes the stores too."""
        self.halt()
        for store in self.stores.values():
            store.committed.close()
        self.stores = {}
        self.state = State.CLAIMING


def _times(metadata: str | None) -> dict[str, int]:
    if not metadata:
        return {}
    try:
        found: Any = msgspec.json.decode(metadata, type=dict[str, int])
    except msgspec.DecodeError:
        return {}  # Somebody else's: `ottla streams reset`, or a tool that moved the offsets.
    times: dict[str, int] = found
    return times
