"""`StreamsBuilder`: where a topology begins."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar, overload

from ottla.errors import TopologyError
from ottla.events.declaration import declared_event
from ottla.streams.dsl.global_table import GlobalTable
from ottla.streams.dsl.graph import Graph, Materialized, Store, materialized
from ottla.streams.dsl.stream import KStream
from ottla.streams.dsl.table import KTable
from ottla.streams.dsl.tables import table_source
from ottla.streams.event_serde import EventSerde
from ottla.streams.inference import Kind, serde_of
from ottla.streams.operators.global_table import FillGlobalTable
from ottla.streams.serdes import TEXT, Serde
from ottla.streams.topology.nodes import OffsetReset, SourceNode, TimestampExtractor
from ottla.streams.topology.stores import StoreKind
from ottla.streams.topology.topology import GLOBAL_TABLE, Topology

K = TypeVar("K")
V = TypeVar("V")


class StreamsBuilder:
    """Builds a topology.

        builder = StreamsBuilder()
        builder.stream(OrderCreated).group_by("customer_id").aggregate(Sum("total_amount")).to_stream().to("totals")
        topology = builder.build()

    Nothing runs until the topology is given to an application or a test driver.
    """

    def __init__(self) -> None:
        self._graph = Graph()

    @overload
    def stream(
        self,
        topic: type[V],
        *more: type[V],
        key: None = None,
        timestamp: TimestampExtractor | None = None,
        reset: OffsetReset = "earliest",
        name: str | None = None,
    ) -> KStream[str, V]: ...
    @overload
    def stream(
        self,
        topic: type[V],
        *more: type[V],
        key: Kind[K],
        timestamp: TimestampExtractor | None = None,
        reset: OffsetReset = "earliest",
        name: str | None = None,
    ) -> KStream[K, V]: ...
    @overload
    def stream(
        self,
        topic: str,
        *more: str,
        key: Kind[K],
        value: Kind[V],
        timestamp: TimestampExtractor | None = None,
        reset: OffsetReset = "earliest",
        name: str | None = None,
    ) -> KStream[K, V]: ...
    def stream(
        self,
        topic: Any,
        *more: Any,
        key: Any = None,
        value: Any = None,
        timestamp: TimestampExtractor | None = None,
        reset: OffsetReset = "earliest",
        name: str | None = None,
    ) -> KStream[Any, Any]:
        """A stream of the records of a topic: of an event class (its topic; the key is its key field as text; events
        of other classes on the topic are none of it), or of topics by their names.

        Args:
            more: Further classes on the same topic, or further topics.
            key, value: How they are written: types or serdes.
            timestamp: Event time from the record and the partition's time so far; None takes Kafka's timestamp.
            reset: Where a partition without a committed offset begins.

        Raises:
            TopologyError: A class is no event, the classes have several topics, or a serde is missing.
        """
        topics, key_serde, value_serde = _origin(topic, more, key, value)
        node = self._graph.name(topics[0], "source", name)
        self._graph.add(SourceNode(node, topics, key_serde, value_serde, reset, timestamp))
        return KStream(self._graph, node, key_serde, value_serde, frozenset(topics), topics[0])

    @overload
    def table(
        self, topic: type[V], *, key: None = None, store: Store = None, history: timedelta | None = None,
        name: str | None = None,
    ) -> KTable[str, V]: ...  # fmt: skip
    @overload
    def table(
        self, topic: type[V], *, key: Kind[K], store: Store = None, history: timedelta | None = None,
        name: str | None = None,
    ) -> KTable[K, V]: ...  # fmt: skip
    @overload
    def table(
        self, topic: str, *, key: Kind[K], value: Kind[V], store: Store = None, history: timedelta | None = None,
        name: str | None = None,
    ) -> KTable[K, V]: ...  # fmt: skip
    def table(
        self,
        topic: Any,
        *,
        key: Any = None,
        value: Any = None,
        store: Store = None,
        history: timedelta | None = None,
        name: str | None = None,
    ) -> KTable[Any, Any]:
        """The table a topic makes: the newest record of each key counts, one without a value deletes.

        Args:
            store: Keeps it under a name; without one it is kept only if a join or an aggregation needs it.
            history: Keeps versions so far back of stream time: joins see the version of their time (KIP-889).
        """
        topics, key_serde, value_serde = _origin(topic, (), key, value)
        node = self._graph.name(topics[0], "table", name)
        self._graph.add(SourceNode(f"{node}-source", topics, key_serde, value_serde))
        return table_source(
            self._graph, f"{node}-source", node, key_serde, value_serde, frozenset(topics), topics[0], store, history
        )

    @overload
    def global_table(
        self, topic: type[V], *, key: None = None, store: Store = None, name: str | None = None
    ) -> GlobalTable[str, V]: ...
    @overload
    def global_table(
        self, topic: str, *, key: Kind[K], value: Kind[V], store: Store = None, name: str | None = None
    ) -> GlobalTable[K, V]: ...
    def global_table(
        self, topic: Any, *, key: Any = None, value: Any = None, store: Store = None, name: str | None = None
    ) -> GlobalTable[Any, Any]:
        """A table that every instance holds in full."""
        topics, key_serde, value_serde = _origin(topic, (), key, value)
        node = self._graph.name(topics[0], "global-table", name)
        spec = self._graph.store(
            materialized(store), f"{node}-store", "timestamped", key_serde, value_serde, is_global=True
        )
        self._graph.add(SourceNode(f"{node}-source", topics, key_serde, value_serde))
        self._graph.operator(
            node, GLOBAL_TABLE, [f"{node}-source"], lambda: FillGlobalTable(spec.name), stores=[spec.name]
        )
        return GlobalTable(spec.name, key_serde, value_serde)

    def add_store(
        self,
        name: str,
        *,
        key: Any,
        value: Any,
        kind: StoreKind = "key-value",
        retention: timedelta | None = None,
        ttl: timedelta | None = None,
        persistent: bool = True,
        logged: bool = True,
    ) -> str:
        """A store for processors; gives its name.

        Args:
            kind: `key-value`, `timestamped`, `versioned`, `window` or `session`.
            retention: How long windows, sessions and versions are kept; those kinds need it.
            ttl: How long after its last change a row of a timestamped store is kept (`Materialized.ttl`).
        """
        if kind in ("versioned", "window", "session") and retention is None:
            raise TopologyError(f"store {name!r}: a {kind} store needs a retention")
        retention_ms = None if retention is None else retention // timedelta(milliseconds=1)
        kept = Materialized(name, persistent=persistent, logged=logged, ttl=ttl)
        self._graph.store(kept, name, kind, serde_of(key), serde_of(value), retention_ms=retention_ms)
        return name

    def build(self) -> Topology:
        """The finished topology.

        Raises:
            TopologyError: It cannot be: a store is used by nobody, ...
        """
        return self._graph.build()


def _origin(topic: Any, more: tuple[Any, ...], key: Any, value: Any) -> tuple[tuple[str, ...], Serde[Any], Serde[Any]]:
    """Topics and serdes, from event classes or from names."""
    if isinstance(topic, str):
        if key is None or value is None:
            raise TopologyError(f"topic {topic!r}: how are its keys and values written? Name them: key=str, value=...")
        return (topic, *more), serde_of(key), serde_of(value)
    declared = [declared_event(cls) for cls in (topic, *more)]
    for cls, found in zip((topic, *more), declared, strict=True):
        if found is None:
            raise TopologyError(f"{cls!r} is no event: declare it with @event, or give the topic's name")
    topics = {found.topic for found in declared if found is not None}
    if len(topics) > 1:
        raise TopologyError(f"these events have several topics ({', '.join(sorted(topics))}): merge their streams")
    classes = (topic, *more)
    key_serde = serde_of(key) if key is not None else TEXT
    return tuple(topics), key_serde, serde_of(value) if value is not None else EventSerde(*classes)
