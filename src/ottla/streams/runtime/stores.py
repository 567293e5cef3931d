"""Opens and closes the stores of tasks, on disk or in memory, and keeps standby copies."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from ottla.streams.runtime.directory import StateDirectory
from ottla.streams.runtime.plan import Place, Plan
from ottla.streams.runtime.restoration import Restorer
from ottla.streams.stores.committed import CommittedMemory, CommittedStore
from ottla.streams.stores.rocks import RocksMemory, RocksStore
from ottla.streams.task import TaskId
from ottla.streams.topology.stores import StoreSpec

OPENERS = 4


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
        # After a crash RocksDB reads its own log when it is opened: that must not hold up the tasks that run.
        self._pool = ThreadPoolExecutor(OPENERS, thread_name_prefix="ottla-streams-open")
        self._opening: dict[TaskId, Future[dict[str, CommittedStore]]] = {}
        self._expected: set[TaskId] = set()
        self._standby: dict[TaskId, dict[str, CommittedStore]] = {}
        self._active: dict[TaskId, dict[str, CommittedStore]] = {}

    def expect(self, task: TaskId) -> None:
        """The task is about to run here."""
        self._expected.add(task)

    def open(self, task: TaskId) -> dict[str, CommittedStore] | None:
        """The stores of a task that is to run here; None while they are being opened, or another process on this
        machine has them."""
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
        self._expected.discard(task)
        if (opening := self._opening.pop(task, None)) is not None:
            for store in opening.result().values():
                store.close()
        self._directory.release(str(task))

    def keep_warm(self, wanted: Iterable[TaskId]) -> None:
        """Keeps copies of exactly these tasks' stores up to date, but for those that run here."""
        wanted = [task for task in wanted if task not in self._expected and self._changelogs(task)]
        for task in [task for task in self._standby if task not in wanted and task not in self._expected]:
            self._drop(task)
        for task in [task for task in self._opening if task not in wanted and task not in self._expected]:
            self.release(task)
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
        """Lets go of the standby copies, and of what is being opened."""
        for task in list(self._standby):
            self._drop(task)
        for task in list(self._opening):
            self.release(task)
        self._pool.shutdown()

    def _drop(self, task: TaskId) -> None:
        self._restorer.release(self._changelogs(task))
        for store in self._standby.pop(task).values():
            store.close()
        self._directory.release(str(task))

    def _opened(self, task: TaskId) -> dict[str, CommittedStore] | None:
        if not self._directory.claim(str(task)):
            return None
        opening = self._opening.get(task)
        if opening is None:
            specs = self._plan.stores(task)
            if self._memory is None and any(spec.persistent for spec in specs):
                self._memory = RocksMemory(self._cache_bytes)
            if not any(spec.persistent for spec in specs):
                return self._open_all(task, specs)
            opening = self._opening[task] = self._pool.submit(self._open_all, task, specs)
        if not opening.done():
            return None
        del self._opening[task]
        return opening.result()

    def _open_all(self, task: TaskId, specs: list[StoreSpec]) -> dict[str, CommittedStore]:
        return {spec.name: self._store(task, spec) for spec in specs}

    def _store(self, task: TaskId, spec: StoreSpec) -> CommittedStore:
        if not spec.persistent:
            return CommittedMemory()
        assert self._memory is not None, "made before the first store on disk is opened"
        return RocksStore(self._directory.folder(str(task), spec.name), self._memory)

    def _changelogs(self, task: TaskId) -> list[Place]:
        places = (self._plan.changelog(task, spec) for spec in self._plan.stores(task))
        return [place for place in places if place is not None]
