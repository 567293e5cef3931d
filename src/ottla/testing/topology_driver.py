"""`TopologyTestDriver`: runs a topology without a broker, record by record, in virtual time.

with TopologyTestDriver(topology) as driver:
    orders = driver.input(OrderCreated)
    totals = driver.output("customer-totals", key=str, value=Decimal)
    orders.pipe(OrderCreated(...), timestamp_ms=1000)
    assert totals.read().value == Decimal("10.00")
    assert driver.store("totals").get("c-1").value == Decimal("10.00")
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

from ottla.errors import TopologyError
from ottla.events.declaration import event_type
from ottla.serde.deserializer import Deserializer
from ottla.serde.serializer import Serializer
from ottla.streams.errors_policy import ErrorHandlers
from ottla.streams.event_serde import EventSerde
from ottla.streams.inference import Kind, serde_of
from ottla.streams.records import NO_TIMESTAMP, Headers, RawBatch, RawRecord, Record
from ottla.streams.serdes import TEXT, Codecs, Serde
from ottla.streams.stores.memory import MemoryStore
from ottla.streams.task import CACHE_ENTRIES_MAX, Task, TaskId
from ottla.streams.topology.stores import StoreSpec
from ottla.streams.topology.topology import Topology
from ottla.testing.memory_registry import MemoryRegistry

K = TypeVar("K")
V = TypeVar("V")


class _Clock:
    def __init__(self, now_ms: int) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        return self.time_ms


class _Capture:
    """What a topology writes, by topic; what it reads itself goes back in."""

    def __init__(self, internal: set[str]) -> None:
        self.topics: dict[str, deque[RawRecord]] = defaultdict(deque)
        self.offsets: dict[str, int] = defaultdict(int)
        self.waiting: deque[RawRecord] = deque()
        self._internal = internal

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        headers: Headers | None = None,
        timestamp_ms: int = NO_TIMESTAMP,
        partition: int | None = None,
    ) -> None:
        record = RawRecord(topic, partition or 0, self.offsets[topic], timestamp_ms, key, value, headers or [])
        self.offsets[topic] += 1
        self.topics[topic].append(record)
        if topic in self._internal:
            self.waiting.append(record)

    def send_many(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        timestamps_ms: Sequence[int],
        headers: Sequence[Headers | None] | None = None,
    ) -> None:
        for index, (key, value, stamp) in enumerate(zip(keys, values, timestamps_ms, strict=True)):
            self.send(topic, key, value, headers=headers[index] if headers else None, timestamp_ms=stamp)

    def partitions(self, topic: str) -> int:
        return 1


class TopologyTestDriver:
    """Runs every sub-topology of a topology on one partition. Each record goes all the way through, and its results are
    committed, before the next: nothing depends on time, caches or chance.

    Args:
        topology: What is tested.
        application_id: Stands in front of internal topics.
        now_ms: The wall clock at the start, milliseconds since the epoch; it moves by `advance` only.
        handlers: What to do with failures; by default they fail the test (StreamsFailed).
        codecs: What events are written and read with; None: Avro with a registry in memory.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        application_id: str = "test",
        now_ms: int = 0,
        handlers: ErrorHandlers | None = None,
        codecs: Codecs | None = None,
        cache_entries_max: int = CACHE_ENTRIES_MAX,
    ) -> None:
        self.topology = topology.named(application_id)
        if codecs is None:
            registry = MemoryRegistry()
            codecs = Codecs(Serializer(registry), Deserializer(registry))
        self.codecs = codecs
        self._clock = _Clock(now_ms)
        read = {*self.topology.source_topics, *self.topology.global_topics}
        self._capture = _Capture(read)
        self._globals: dict[str, MemoryStore] = {}
        handlers = handlers or ErrorHandlers(decode="fail", processing="fail", production="fail")
        self._made: Counter[str] = Counter()
        self._tasks: list[Task] = []
        self._by_topic: dict[str, Task] = {}
        for sub in self.topology.subtopologies:
            task = Task(
                self.topology,
                TaskId(sub.index, 0),
                self._open,
                self._capture,
                self._clock,
                codecs=codecs,
                handlers=handlers,
                cache_entries_max=cache_entries_max,
            )
            self._tasks.append(task)
            for topic in sub.source_topics:
                self._by_topic[self.topology.physical(topic)] = task

    def _open(self, spec: StoreSpec) -> MemoryStore:
        return self._globals.setdefault(spec.name, MemoryStore()) if spec.is_global else MemoryStore()

    # -- in --------------------------------------------------------------------------------------------------------

    @overload
    def input(self, topic: type[V]) -> InputTopic[str, V]: ...
    @overload
    def input(self, topic: str, *, key: Kind[K], value: Kind[V]) -> InputTopic[K, V]: ...
    def input(self, topic: Any, *, key: Any = None, value: Any = None) -> InputTopic[Any, Any]:
        """A topic to pipe records into: an event class, or a name with how keys and values are written."""
        if isinstance(topic, str):
            return InputTopic(self, topic, serde_of(key), serde_of(value))
        return InputTopic(self, event_type(topic).topic, TEXT, EventSerde(topic))

    def next_offset(self, topic: str) -> int:
        """The offset of the next record that is made for a topic, whoever makes it."""
        self._made[topic] += 1
        return self._made[topic] - 1

    def pipe(self, records: Iterable[RawRecord]) -> None:
        """Records as they come from Kafka, one after another."""
        for record in records:
            self._check(record.topic)
            self._capture.waiting.append(record)
            self._run()

    def pipe_together(self, batch: RawBatch) -> None:
        """Records of one partition as one batch, committed once, as the runtime does it."""
        self._check(batch.topic)
        self._by_topic[batch.topic].process(batch)
        self._commit()

    def _check(self, topic: str) -> None:
        if topic not in self._by_topic:
            known = ", ".join(sorted(self._by_topic))
            raise TopologyError(f"the topology does not read topic {topic!r}; it reads {known}")

    def _run(self) -> None:
        while self._capture.waiting:
            record = self._capture.waiting.popleft()
            task = self._by_topic[record.topic]
            task.process([record])
            task.flush()

    def _commit(self) -> None:
        for task in self._tasks:
            task.flush()
        while self._capture.waiting:
            first = self._capture.waiting.popleft()
            run = [first]
            while self._capture.waiting and self._capture.waiting[0].topic == first.topic:
                run.append(self._capture.waiting.popleft())
            task = self._by_topic[first.topic]
            task.process(run)
            if not self._capture.waiting:
                for task in self._tasks:
                    task.flush()

    # -- out -------------------------------------------------------------------------------------------------------

    @overload
    def output(self, topic: type[V]) -> OutputTopic[str, V]: ...
    @overload
    def output(self, topic: str, *, key: Kind[K], value: Kind[V]) -> OutputTopic[K, V]: ...
    def output(self, topic: Any, *, key: Any = None, value: Any = None) -> OutputTopic[Any, Any]:
        """A topic to read results from."""
        if isinstance(topic, str):
            return OutputTopic(self, topic, serde_of(key), serde_of(value))
        return OutputTopic(self, event_type(topic).topic, TEXT, EventSerde(topic))

    def raw(self, topic: str) -> list[RawRecord]:
        """What was written to a topic and not yet read, as bytes; it counts as read."""
        found = list(self._capture.topics[topic])
        self._capture.topics[topic].clear()
        return found

    def take(self, topic: str) -> RawRecord | None:
        """The next record of a topic that was not yet read."""
        waiting = self._capture.topics[topic]
        return waiting.popleft() if waiting else None

    # -- time and state --------------------------------------------------------------------------------------------

    def advance(self, by: timedelta) -> None:
        """The wall clock moves, and punctuators on it run."""
        self._clock.time_ms += by // timedelta(milliseconds=1)
        for task in self._tasks:
            task.punctuate(self._clock.time_ms)
            task.flush()
        self._run()

    @property
    def now_ms(self) -> int:
        """The wall clock, milliseconds since the epoch."""
        return self._clock.time_ms

    def store(self, name: str) -> Any:
        """A store by its name.

        Raises:
            TopologyError: There is none.
        """
        for task in self._tasks:
            if any(spec.name == name for spec in task.subtopology.stores):
                return task.store(name)
        raise TopologyError(f"there is no store {name!r}; there are {', '.join(self.topology.stores) or 'none'}")

    @property
    def dropped(self) -> dict[tuple[str, str], int]:
        """How many records were left out, by operator and reason."""
        found: dict[tuple[str, str], int] = {}
        for task in self._tasks:
            found.update(task.counters.dropped)
        return found

    def close(self) -> None:
        """Closes processors and stores."""
        for task in self._tasks:
            task.close()

    def __enter__(self) -> TopologyTestDriver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class InputTopic(Generic[K, V]):
    """A topic to pipe records into."""

    def __init__(self, driver: TopologyTestDriver, topic: str, key: Serde[Any], value: Serde[Any]) -> None:
        self._driver = driver
        self._topic = topic
        self._events = isinstance(value, EventSerde)
        self._key, self._value = key.bind(driver.codecs), value.bind(driver.codecs)

    def pipe(
        self,
        value: V | None,
        *,
        key: K | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> None:
        """One record. An event brings its key along; the time is the wall clock's unless it is given."""
        self._driver.pipe([self.record(value, key=key, timestamp_ms=timestamp_ms, headers=headers)])

    def pipe_all(self, records: Iterable[tuple[K | None, V | None, int]]) -> None:
        """Many records: key, value, timestamp."""
        for key, value, timestamp_ms in records:
            self.pipe(value, key=key, timestamp_ms=timestamp_ms)

    def record(
        self,
        value: V | None,
        *,
        key: K | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> RawRecord:
        """A record as it would come from Kafka."""
        if key is None and value is not None and self._events:
            raw_key = event_type(value).key_of(value)
        else:
            raw_key = None if key is None else self._key.encode(key, self._topic)
        raw_value = None if value is None else self._value.encode(value, self._topic)
        stamp = self._driver.now_ms if timestamp_ms is None else timestamp_ms
        return RawRecord(
            self._topic, 0, self._driver.next_offset(self._topic), stamp, raw_key, raw_value, headers or []
        )


class OutputTopic(Generic[K, V]):
    """A topic to read results from, each once.

    Attributes:
        topic: Its name.
    """

    def __init__(self, driver: TopologyTestDriver, topic: str, key: Serde[Any], value: Serde[Any]) -> None:
        self._driver = driver
        self.topic = topic
        self._key, self._value = key.bind(driver.codecs), value.bind(driver.codecs)

    def read(self) -> Record[K, V]:
        """The next record.

        Raises:
            AssertionError: There is none.
        """
        raw = self._driver.take(self.topic)
        if raw is None:
            raise AssertionError(f"topic {self.topic} has no further record")
        return self._decoded(raw)

    def read_all(self) -> list[Record[K, V]]:
        """All further records."""
        return [self._decoded(raw) for raw in self._driver.raw(self.topic)]

    def read_values(self) -> list[tuple[K, V]]:
        """Keys and values of all further records."""
        return [(record.key, record.value) for record in self.read_all()]

    def read_table(self) -> dict[K, V]:
        """All further records as a table: the last value of each key, without those that were deleted."""
        found = {record.key: record.value for record in self.read_all()}
        return {key: value for key, value in found.items() if value is not None}

    def _decoded(self, raw: RawRecord) -> Record[K, V]:
        key: Any = None if raw.key is None else self._key.decode(raw.key, self.topic)
        value: Any = None if raw.value is None else self._value.decode(raw.value, self.topic)
        return Record(key, value, raw.timestamp_ms, raw.headers)
