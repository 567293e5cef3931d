"""Opens and closes the stores of tasks, on disk or in memory, and keeps standby copies."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from ottla.streams.runtime.directory import StateDirectory
from ottla.streams.runtime.plan import Place, Plan
from ottla.streams.runtime.restoration import Restorer
from ottla.streams.stores.committed import CommittedMemory, CommittedStore
from ottla.streams.stores.rocks import RocksMemory, RocksStore
from ottla.streams.task import TaskId
from ottla.streams.topology.stores import StoreSpec


class TaskStores:
    """The committed stores that are open in this process. Belongs to the stream thread, but for `readable`.

    Args:
        plan: The application's tasks.
        directory: Where stores on disk lie.
        restorer: Keeps standby copies up to date.
        cache_bytes: RocksDB's memory, for all together.
    """

    def __init__(self, plan: Plan, directory: StateDirectory, restorer: Restorer, cache_bytes: int) -> None:
        self._plan = plan
        self._directory = directory
        self._restorer = restorer
        self._cache_bytes = cache_bytes
        self._memory: RocksMemory | None = None
        self._log = logging.getLogger("ottla.streams")
        self._standby: dict[TaskId, dict[str, CommittedStore]] = {}
        self._active: dict[TaskId, dict[str, CommittedStore]] = {}

    def expect(self, task: TaskId) -> None:
        """The task is about to run here: a standby copy of it is no copy any more."""

    def open(self, task: TaskId) -> dict[str, CommittedStore] | None:
        """The stores of a task that runs here; None while another process on this machine has them."""
        if task in self._standby:
            # What was kept warm is what the task begins with.
            self._restorer.release(self._changelogs(task))
            self._active[task] = self._standby.pop(task)
            return self._active[task]
        found = self._opened(task)
        if found is not None:
            self._active[task] = found
        return found

    def release(self, task: TaskId) -> None:
        """The task's stores have been closed."""
        self._active.pop(task, None)
        self._directory.release(str(task))

    def keep_warm(self, wanted: Iterable[TaskId]) -> None:
        """Keeps copies of exactly these tasks' stores up to date, but for those that run here."""
        wanted = [task for task in wanted if task not in self._active and self._changelogs(task)]
        for task in [task for task in self._standby if task not in wanted]:
            self._drop(task)
        for task in wanted:
            if task not in self._standby and (stores := self._opened(task)) is not None:
                self._standby[task] = stores
                self._restorer.follow(
                    str(task),
                    {
                        place: stores[spec.name]
                        for spec in self._plan.stores(task)
                        if (place := self._plan.changelog(task, spec)) is not None
                    },
                )
                self._log.info("keeping a copy of task %s warm", task)

    def readable(self) -> dict[TaskId, tuple[Mapping[str, CommittedStore], bool]]:
        """Every task whose committed state can be read here, and whether it is a standby copy. From any thread."""
        found: dict[TaskId, tuple[Mapping[str, CommittedStore], bool]] = {
            task: (stores, True) for task, stores in list(self._standby.items())
        }
        return found | {task: (stores, False) for task, stores in list(self._active.items())}

    def close(self) -> None:
        """Lets go of the standby copies."""
        for task in list(self._standby):
            self._drop(task)

    def _drop(self, task: TaskId) -> None:
        self._restorer.release(self._changelogs(task))
        for store in self._standby.pop(task).values():
            store.close()
        self._directory.release(str(task))

    def _opened(self, task: TaskId) -> dict[str, CommittedStore] | None:
        if not self._directory.claim(str(task)):
            return None
        return {spec.name: self._store(task, spec) for spec in self._plan.stores(task)}

    def _store(self, task: TaskId, spec: StoreSpec) -> CommittedStore:
        if not spec.persistent:
            return CommittedMemory()
        if self._memory is None:
            self._memory = RocksMemory(self._cache_bytes)
        return RocksStore(self._directory.folder(str(task), spec.name), self._memory)

    def _changelogs(self, task: TaskId) -> list[Place]:
        places = (self._plan.changelog(task, spec) for spec in self._plan.stores(task))
        return [place for place in places if place is not None]
