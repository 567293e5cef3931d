"""Questions to the stores of a running application, wherever the answer lies.

Every answer is of committed state: what may still be undone is never seen.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from ottla.errors import StateUnavailable, TopologyError
from ottla.http_client import httpx
from ottla.streams.partitioning import partition_of
from ottla.streams.runtime.access import bearer
from ottla.streams.runtime.active_task import State
from ottla.streams.runtime.instance import Instance
from ottla.streams.runtime.standbys import standby_places
from ottla.streams.runtime.views import Freshness, RemoteStore
from ottla.streams.serdes import Codecs
from ottla.streams.stores.base import BytesStore
from ottla.streams.stores.opening import typed_store
from ottla.streams.stores.transactional import CommittedView
from ottla.streams.task import TaskId
from ottla.streams.topology.stores import StoreSpec
from ottla.streams.topology.topology import Topology

AGAIN_S = 0.1


class Queries:
    """Finds out who answers. Thread-safe; its methods block.

    Args:
        topology: `named`.
        instance: What runs in this process, if anything.
        codecs: What events are read with.
        token: What other instances want to be told (`streams.query_token`).
    """

    def __init__(
        self,
        topology: Topology,
        instance: Callable[[], Instance | None],
        codecs: Callable[[], Codecs | None],
        *,
        token: str | None = None,
    ) -> None:
        self.topology = topology
        self._instance = instance
        self._codecs = codecs
        self._token = token
        self._client: httpx.Client | None = None

    def store(
        self, name: str, *, max_staleness_s: float | None = None, timeout_s: float = 5.0, local_only: bool = False
    ) -> StoreReader:
        """A store to ask.

        Args:
            max_staleness_s: None: only the task itself answers; else also a standby copy that had everything that was
                committed not longer ago than this.
            timeout_s: How long a question waits while tasks are moving.
            local_only: Ask no other instance.

        Raises:
            TopologyError: There is no such store.
        """
        spec = self.topology.stores.get(name)
        if spec is None:
            known = ", ".join(self.topology.stores) or "none"
            raise TopologyError(f"{self.topology.application_id} has no store {name!r}; it has: {known}")
        return StoreReader(self, spec, max_staleness_s, timeout_s, local_only)

    def instance(self) -> Instance:
        """Raises StateUnavailable where the application has not come up here."""
        found = self._instance()
        if found is None:
            raise StateUnavailable(f"{self.topology.application_id} is starting or stopping")
        return found

    def partitions(self, spec: StoreSpec) -> list[int]:
        """The partitions of a store, which are those of its tasks."""
        if spec.is_global:
            return [0]
        instance = self.instance()
        return [task.partition for task in instance.plan.tasks if task and task.subtopology == self._sub(spec)]

    def typed(self, spec: StoreSpec, store: BytesStore) -> Any:
        """A store's own way to be asked, over one partition of it."""
        topic = self.topology.physical(spec.changelog) if spec.changelog else spec.name
        return typed_store(spec, store, self._codecs(), topic)

    def local(self, spec: StoreSpec, partition: int) -> tuple[BytesStore, Freshness] | None:
        """A partition of a store in this process; None if it is not here."""
        instance = self.instance()
        if spec.is_global:
            return instance.globals.store(spec), Freshness(False, 0.0)
        task_id = TaskId(self._sub(spec), partition)
        active = next((task for task in list(instance.thread.tasks.values()) if task.id == task_id), None)
        if active is not None and active.state is State.RUNNING and (store := active.stores.get(spec.name)) is not None:
            return CommittedView(store.committed), Freshness(False, 0.0)
        stores, _ = instance.stores.readable().get(task_id, ({}, False))
        if spec.name not in stores:
            return None
        return CommittedView(stores[spec.name]), Freshness(True, instance.behind_s(task_id))

    def candidates(
        self, spec: StoreSpec, partition: int, max_staleness_s: float | None, *, local_only: bool
    ) -> Iterator[BytesStore]:
        """Who may answer for a partition, best first."""
        here = self.local(spec, partition)
        if here is not None and not here[1].standby:
            yield here[0]
        instance = self.instance()
        if not local_only and not spec.is_global:
            members = instance.group.members()
            task = TaskId(self._sub(spec), partition)
            token = instance.plan.token_of(task)
            mine = instance.directory.instance_id
            owners = [member for member in members if token in member.tokens]
            copies = instance.copies
            standbys = standby_places(instance.plan, members, copies).get(task, []) if copies else []
            asked = owners if max_staleness_s is None else [*owners, *standbys]
            for member in asked:
                if member.instance_id != mine and member.address is not None:
                    yield RemoteStore(self._http(), member.address, spec.name, partition, max_staleness_s)
        if here is not None and here[1].standby and here[1].within(max_staleness_s):
            yield here[0]

    def close(self) -> None:
        """Lets go of connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _http(self) -> httpx.Client:
        if self._client is None:
            self._client = httpx.Client(trust_env=False, headers=bearer(self._token))
        return self._client

    def _sub(self, spec: StoreSpec) -> int:
        return next(sub.index for sub in self.topology.subtopologies if spec in sub.stores)


class StoreReader:
    """One store, over all its partitions. Which methods make sense is up to the store's kind; values come as the
    store's own reading methods give them."""

    def __init__(
        self, queries: Queries, spec: StoreSpec, max_staleness_s: float | None, timeout_s: float, local_only: bool
    ) -> None:
        self.spec = spec
        self._queries = queries
        self._max_staleness_s = max_staleness_s
        self._timeout_s = timeout_s
        self._local_only = local_only

    def get(self, key: Any, *arguments: Any) -> Any:
        """The value of a key; None if there is none. A session's start and end, a version's time may follow.

        Raises:
            StateUnavailable: Nobody answers within `timeout_s`.
        """
        return self._of_key(key, lambda store: store.get(key, *arguments))

    def fetch(self, key: Any, *arguments: Any) -> Any:
        """A window by its start; the sessions of a key, as a list. Raises as `get`."""

        def ask(store: Any) -> Any:
            found = store.fetch(key, *arguments)
            return list(found) if isinstance(found, Iterator) else found

        return self._of_key(key, ask)

    def fetch_range(self, key: Any, from_ms: int, to_ms: int) -> list[Any]:
        """The windows of a key that start between two times, both included. Raises as `get`."""
        found: list[Any] = self._of_key(key, lambda store: list(store.fetch_range(key, from_ms, to_ms)))
        return found

    def range(self, low: Any = None, high: Any = None, *, limit: int = 1_000) -> list[Any]:
        """The pairs with low <= key <= high, by the order of the keys' bytes, at most `limit`. Raises as `get`."""
        return self._of_all(lambda store: store.range(low, high), limit)

    def prefix(self, prefix: bytes, *, limit: int = 1_000) -> list[Any]:
        """The pairs whose key's bytes begin with a prefix. Raises as `get`."""
        return self._of_all(lambda store: store.prefix(prefix), limit)

    def all(self, *arguments: Any, limit: int = 1_000) -> list[Any]:
        """Everything; windows and sessions partition by partition. Raises as `get`."""
        if self.spec.kind in ("key-value", "timestamped"):
            return self.range(limit=limit)
        found: list[Any] = []
        self._wait_until_up()
        for partition in self._queries.partitions(self.spec):
            if len(found) < limit:
                left = limit - len(found)
                found += self._asked(partition, partial(_first, left, arguments))
        return found

    def partition_of(self, key: Any) -> int:
        """Where a key lies, by Kafka's default partitioner."""
        self._wait_until_up()
        data = self._queries.typed(self.spec, _NOTHING).key.encode(key, self._queries.topology.application_id)
        return partition_of(data, len(self._queries.partitions(self.spec)))

    def ask(self, key: Any, question: Callable[[Any], Any]) -> Any:
        """What a function finds in the store (of its kind, to be read only) of the partition that a key lies in, so
        that several things may be looked up in one place. It raises StateUnavailable to be called again. Raises as
        `get`."""
        return self._of_key(key, question)

    def _of_key(self, key: Any, ask: Callable[[Any], Any]) -> Any:
        return self._asked(0 if self.spec.is_global else self.partition_of(key), ask)

    def _wait_until_up(self) -> None:
        """The application may be starting. Raises StateUnavailable where that takes longer than `timeout_s`."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                self._queries.instance()
                return
            except StateUnavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(AGAIN_S)

    def _of_all(self, ask: Callable[[Any], Iterator[Any]], limit: int) -> list[Any]:
        self._wait_until_up()
        parts = [
            self._asked(partition, lambda store: list(islice(ask(store), limit)))
            for partition in self._queries.partitions(self.spec)
        ]
        key = self._queries.typed(self.spec, _NOTHING).key
        ordered = heapq.merge(*parts, key=lambda pair: key.encode(pair[0], self._queries.topology.application_id))
        return list(islice(ordered, limit))

    def _asked(self, partition: int, ask: Callable[[Any], Any]) -> Any:
        """Asks whoever answers, until one does."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            failure = StateUnavailable(
                f"store {self.spec.name}, partition {partition}: no instance that has it can be reached. Has each an "
                f"HTTP port that the others reach (streams.advertised)?"
            )
            try:
                for store in self._queries.candidates(
                    self.spec, partition, self._max_staleness_s, local_only=self._local_only
                ):
                    try:
                        return ask(self._queries.typed(self.spec, store))
                    except StateUnavailable as error:
                        failure = error
                    except Exception as error:
                        if type(error).__name__ != "DbClosedError":
                            raise
                        failure = StateUnavailable(f"store {self.spec.name}, partition {partition}: it has moved")
            except StateUnavailable as error:
                failure = error
            if time.monotonic() > deadline:
                raise failure
            time.sleep(AGAIN_S)


def _first(count: int, arguments: tuple[Any, ...], store: Any) -> list[Any]:
    return list(islice(store.all(*arguments), count))


class _Nothing(BytesStore):
    """A store without keys: for asking a kind how it writes its keys."""

    def get(self, key: bytes) -> bytes | None:
        return None

    def put(self, key: bytes, value: bytes) -> None:
        raise TypeError("queries do not write")

    def delete(self, key: bytes) -> None:
        raise TypeError("queries do not write")

    def range(self, low: Any = None, high: Any = None, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return iter(())

    def approximate_count(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing to close."""


_NOTHING = _Nothing()
