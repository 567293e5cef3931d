"""One task: a sub-topology on one partition. No threads, no Kafka: the runtime and the test driver feed it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ottla.errors import TopologyError
from ottla.streams.context import Clock, Sink, TaskContext
from ottla.streams.errors_policy import ErrorHandlers
from ottla.streams.operators.base import Operator
from ottla.streams.operators.sink import SinkOperator
from ottla.streams.operators.source import SourceOperator
from ottla.streams.punctuation import WALL_CLOCK, Punctuations
from ottla.streams.records import NO_TIMESTAMP, RawBatch, RawRecord
from ottla.streams.serdes import Codecs
from ottla.streams.stores.base import BytesStore
from ottla.streams.stores.opening import typed_store
from ottla.streams.topology.nodes import OperatorNode, SinkNode, SourceNode
from ottla.streams.topology.stores import StoreSpec
from ottla.streams.topology.topology import Topology

CACHE_ENTRIES_MAX = 100_000


@dataclass(frozen=True, slots=True, order=True)
class TaskId:
    """A task's name: the number of its sub-topology and its partition (`0_3`)."""

    subtopology: int
    partition: int

    def __str__(self) -> str:
        return f"{self.subtopology}_{self.partition}"

    @classmethod
    def parse(cls, text: str) -> TaskId:
        """The other way round."""
        subtopology, _, partition = text.partition("_")
        return cls(int(subtopology), int(partition))


class Task:
    """Runs the operators of a sub-topology over the records of one partition (of each of its topics).

    Contract:
    - **Threads.** One at a time; any, but not one with a running event loop of its own that must not be blocked.
    - **Order.** The caller chooses among the partitions of the task by timestamp and gives a run of records of one at
      a time, in offset order.
    - **Failure.** StreamsFailed means: stop without committing. Anything a Sink or BytesStore raises comes through.
      After either, only `close` may be called.
    - **Commit.** `flush()`, then commit what the Sink and the stores were given together with the offsets and
      `snapshot()`.

    Args:
        topology: The whole topology, `named`.
        task_id: Which sub-topology and partition.
        open_store: Opens the store of a spec; for global stores it gives the same one to all tasks.
        sink: Where outputs go.
        clock: The wall clock.
        codecs: What events are written and read with.
        handlers: What to do with failures.
        cache_entries_max: How many keys a write-back cache holds before it is flushed early; 0 turns caches off.
    """

    def __init__(
        self,
        topology: Topology,
        task_id: TaskId,
        open_store: Callable[[StoreSpec], BytesStore],
        sink: Sink,
        clock: Clock,
        *,
        codecs: Codecs | None = None,
        handlers: ErrorHandlers | None = None,
        cache_entries_max: int = CACHE_ENTRIES_MAX,
    ) -> None:
        self.id = task_id
        self.subtopology = topology.subtopologies[task_id.subtopology]
        self._topology = topology
        self._punctuations = Punctuations()
        self._context = TaskContext(
            topology,
            str(task_id),
            task_id.partition,
            sink,
            clock,
            codecs,
            handlers or ErrorHandlers(),
            cache_entries_max,
            self._punctuations,
        )
        self._opened: list[BytesStore] = []
        for spec in self.subtopology.stores:
            opened = open_store(spec)
            if not spec.is_global:
                self._opened.append(opened)
            self._context.stores[spec.name] = typed_store(
                spec, opened, codecs, topology.physical(spec.changelog or spec.name)
            )
        self._operators = self._made()
        self._sources: dict[str, list[SourceOperator]] = {}
        for operator in self._operators:
            if isinstance(operator, SourceOperator):
                for topic in operator.node.topics:
                    self._sources.setdefault(topology.physical(topic), []).append(operator)
        for operator in self._operators:
            operator.start(self._context)

    def _made(self) -> list[Operator]:
        by_name: dict[str, Operator] = {}
        for node in self.subtopology.nodes:
            operator: Operator
            match node:
                case SourceNode():
                    operator = SourceOperator(node, self.subtopology)
                case SinkNode():
                    operator = SinkOperator(node)
                case OperatorNode():
                    operator = node.make()
            operator.name = node.name
            by_name[node.name] = operator
        for node in self.subtopology.nodes:
            by_name[node.name].children = tuple(by_name[child.name] for child in self.subtopology.children(node.name))
        return list(by_name.values())

    def process(self, records: Sequence[RawRecord] | RawBatch) -> None:
        """Processes records of one partition, in offset order.

        Raises:
            StreamsFailed: A record failed, and the handlers say to stop.
            TopologyError: The task does not read their topic.
        """
        if not len(records):
            return
        batch = records if isinstance(records, RawBatch) else RawBatch.of(records)
        sources = self._sources.get(batch.topic)
        if sources is None:
            raise TopologyError(f"task {self.id} does not read topic {batch.topic}")
        context = self._context
        # Several sources of one topic see one record after another, as they may meet further down.
        parts = [batch] if len(sources) == 1 else [batch.one(index) for index in range(len(batch))]
        try:
            for part in parts:
                context.input = part
                for source in sources:
                    source.run(part)
            context.counters.processed += len(batch)
        finally:
            context.input = None

    def event_times(self, batch: RawBatch) -> Sequence[int] | None:
        """When records happened, for whoever puts those of several partitions in order; None: as Kafka says."""
        timed = [source for source in self._sources.get(batch.topic, ()) if source.node.timestamp is not None]
        return timed[0].event_times(batch) if timed else None

    def punctuate(self, wall_ms: int | None = None) -> bool:
        """Calls back what is due on the wall clock, and says whether anything was."""
        now = self._context.clock.now_ms() if wall_ms is None else wall_ms
        return self._punctuations.run(WALL_CLOCK, now)

    @property
    def held(self) -> bool:
        """Whether an operator is not ready for records yet; punctuations may bring it there."""
        return bool(self._context.held)

    def flush(self) -> None:
        """Hands on what write-back caches hold and writes it to the stores: call it before each commit."""
        for operator in self._operators:
            operator.flush()

    @property
    def stream_time_ms(self) -> int:
        """The highest timestamp seen; -1 before the first record."""
        return self._context.stream_time_ms

    def snapshot(self) -> dict[str, int]:
        """Stream times, to be kept with the committed offsets: plain JSON data."""
        return {"": self._context.stream_time_ms, **self._context.times}

    def restore(self, state: Mapping[str, int]) -> None:
        """Goes on at the stream times of a snapshot."""
        self._context.stream_time_ms = max(self._context.stream_time_ms, state.get("", NO_TIMESTAMP))
        for name, time_ms in state.items():
            if name:
                self._context.times[name] = max(self._context.times.get(name, NO_TIMESTAMP), time_ms)

    def store(self, name: str) -> Any:
        """A typed store, for queries and tests; it shows what is in the write-back caches too.

        Raises:
            TopologyError: The task has no such store.
        """
        try:
            return self._context.stores[name]
        except KeyError:
            raise TopologyError(
                f"task {self.id} has no store {name!r}; it has {', '.join(self._context.stores) or 'none'}"
            ) from None

    @property
    def counters(self) -> Any:
        """What happened, for metrics (`TaskCounters`)."""
        return self._context.counters

    def close(self) -> None:
        """Closes operators and stores. What was not flushed is lost, as the caller wants it after a failure."""
        for operator in self._operators:
            operator.close()
        for store in self._opened:
            store.close()
        self._opened.clear()
