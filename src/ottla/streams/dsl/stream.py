"""`KStream`: a stream of records."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ottla.errors import TopologyError
from ottla.events.declaration import declared_event
from ottla.streams.dsl.graph import Draft, Graph, Store, materialized, needed
from ottla.streams.inference import Kind, given, returned, returned_item
from ottla.streams.operators.base import Operator
from ottla.streams.operators.stateless import (
    Filter,
    FlatMap,
    FlatMapValues,
    Map,
    MapValues,
    PassOn,
    Peek,
    Print,
    SelectField,
    SelectKey,
    WithKey,
)
from ottla.streams.processor import Processor
from ottla.streams.records import Record
from ottla.streams.serdes import Serde
from ottla.streams.topology.nodes import Partitioner, SinkNode, SourceNode
from ottla.streams.windows import JoinWindows

if TYPE_CHECKING:
    from ottla.streams.dsl.branches import Branches
    from ottla.streams.dsl.global_table import GlobalTable
    from ottla.streams.dsl.grouped import GroupedStream
    from ottla.streams.dsl.table import KTable

K = TypeVar("K")
V = TypeVar("V")
KR = TypeVar("KR")
VR = TypeVar("VR")
VO = TypeVar("VO")
GK = TypeVar("GK")


class KStream(Generic[K, V]):
    """A stream of records with keys `K` and values `V`. Every method adds an operator and gives the stream it makes.

    Operators may be named (`name=`); without one they are called after the topic they stem from and what they do.
    A function's failure concerns its record alone (`ErrorHandlers`). Values must not be changed in place: siblings and
    repartition topics see the same objects and bytes.

    Attributes:
        node: The name of the operator this stream comes from.
    """

    def __init__(
        self,
        graph: Graph,
        node: str,
        key: Serde[Any] | None,
        value: Serde[Any] | None,
        sources: frozenset[str],
        stem: str,
        *,
        rekeyed: bool = False,
    ) -> None:
        self.graph = graph
        self.node = node
        self.key = key
        self.value = value
        self.sources = sources
        self.stem = stem
        self.rekeyed = rekeyed

    # -- one record at a time --------------------------------------------------------------------------------------

    def filter(self, predicate: Callable[[K, V], bool], *, name: str | None = None) -> KStream[K, V]:
        """The records a predicate says yes to."""
        return self._same("filter", name, lambda: Filter(predicate))

    def filter_not(self, predicate: Callable[[K, V], bool], *, name: str | None = None) -> KStream[K, V]:
        """The records a predicate says no to."""
        return self._same("filter-not", name, lambda: Filter(predicate, negate=True))

    def map(
        self,
        mapper: Callable[[K, V], tuple[KR, VR]],
        *,
        key: Kind[KR] | None = None,
        value: Kind[VR] | None = None,
        name: str | None = None,
    ) -> KStream[KR, VR]:
        """Another key and value for each record. What follows by key is repartitioned."""
        return self._next(
            "map",
            name,
            lambda: Map(mapper),
            given(key, returned_item(mapper, pair=0)),
            given(value, returned_item(mapper, pair=1)),
            rekeyed=True,
        )

    def map_values(
        self, mapper: Callable[[V], VR], *, value: Kind[VR] | None = None, name: str | None = None
    ) -> KStream[K, VR]:
        """Another value for each record."""
        return self._next("map-values", name, lambda: MapValues(mapper), self.key, given(value, returned(mapper)))

    def map_values_with_key(
        self, mapper: Callable[[K, V], VR], *, value: Kind[VR] | None = None, name: str | None = None
    ) -> KStream[K, VR]:
        """Another value for each record, from its key and value."""
        return self._next(
            "map-values", name, lambda: MapValues(mapper, with_key=True), self.key, given(value, returned(mapper))
        )

    def flat_map(
        self,
        mapper: Callable[[K, V], Iterable[tuple[KR, VR]]],
        *,
        key: Kind[KR] | None = None,
        value: Kind[VR] | None = None,
        name: str | None = None,
    ) -> KStream[KR, VR]:
        """Any number of keys and values for each record. What follows by key is repartitioned."""
        return self._next(
            "flat-map",
            name,
            lambda: FlatMap(mapper),
            given(key, returned_item(mapper, pair=0)),
            given(value, returned_item(mapper, pair=1)),
            rekeyed=True,
        )

    def flat_map_values(
        self, mapper: Callable[[V], Iterable[VR]], *, value: Kind[VR] | None = None, name: str | None = None
    ) -> KStream[K, VR]:
        """Any number of values for each record, under its key."""
        return self._next(
            "flat-map-values", name, lambda: FlatMapValues(mapper), self.key, given(value, returned_item(mapper))
        )

    def flat_map_values_with_key(
        self, mapper: Callable[[K, V], Iterable[VR]], *, value: Kind[VR] | None = None, name: str | None = None
    ) -> KStream[K, VR]:
        """The same, from key and value."""
        return self._next(
            "flat-map-values",
            name,
            lambda: FlatMapValues(mapper, with_key=True),
            self.key,
            given(value, returned_item(mapper)),
        )

    @overload
    def select_key(self, by: str, *, key: None = None, name: str | None = None) -> KStream[Any, V]: ...
    @overload
    def select_key(self, by: str, *, key: Kind[KR], name: str | None = None) -> KStream[KR, V]: ...
    @overload
    def select_key(
        self, by: Callable[[K, V], KR], *, key: Kind[KR] | None = None, name: str | None = None
    ) -> KStream[KR, V]: ...
    def select_key(self, by: Any, *, key: Any = None, name: str | None = None) -> KStream[Any, V]:
        """Another key for each record: what a function gives, or a field of the value by its name, which is quicker.
        What follows by key is repartitioned."""
        if isinstance(by, str):
            found = given(key, field_serde(self.value, by))
            stream = self._next("select-key", name, lambda: SelectField(by), found, self.value, rekeyed=True)
            draft = self.graph.nodes[stream.node]
            assert isinstance(draft, Draft)
            draft.fields, draft.passes_on = (by,), True
            return stream
        return self._next("select-key", name, lambda: SelectKey(by), given(key, returned(by)), self.value, rekeyed=True)

    def peek(self, action: Callable[[K, V], object], *, name: str | None = None) -> KStream[K, V]:
        """The same stream; a function is called with every record."""
        return self._same("peek", name, lambda: Peek(action))

    def foreach(self, action: Callable[[K, V], object], *, name: str | None = None) -> None:
        """Calls a function with every record."""
        self._same("foreach", name, lambda: Peek(action))

    def print(self, label: str | None = None, *, name: str | None = None) -> None:
        """Prints every record."""
        self._same("print", name, lambda: Print(label or self.node))

    # -- whole streams ---------------------------------------------------------------------------------------------

    def merge(self, *others: KStream[K, V], name: str | None = None) -> KStream[K, V]:
        """This stream and others as one. Between them there is no order."""
        alike = all(other.key == self.key and other.value == self.value for other in others)
        merged = self._same("merge", name, lambda: PassOn(with_bytes=alike))
        draft = self.graph.nodes[merged.node]
        assert isinstance(draft, Draft)
        for other in others:
            draft.parents.append(other.node)
            merged.sources |= other.sources
            merged.rekeyed = merged.rekeyed or other.rekeyed
        return merged

    def split(self, *, name: str | None = None) -> Branches[K, V]:
        """Several streams: `split().branch(predicate, "large").default("rest")` gives them by their names."""
        from ottla.streams.dsl.branches import Branches

        return Branches(self, self.graph.name(self.stem, "split", name))

    def repartition(
        self, *, partitions: int | None = None, without_key: bool = False, name: str | None = None
    ) -> KStream[K, V]:
        """The same stream through a topic of its own, so that records with the same key are in the same partition.

        Args:
            partitions: How many it has; None: as many as the topics the stream stems from.
            without_key: Whether records without a key go along; as a rule they are left out, for they are in no
                partition more than in another (as in Kafka Streams).
            name: Of the topic: `<application>-<name>-repartition`.

        Raises:
            TopologyError: How keys or values are written is not known.
        """
        base = self.graph.name(self.stem, "through", name)
        key = needed(self.key, "key", f"repartition topic {base!r}")
        value = needed(self.value, "value", f"repartition topic {base!r}")
        topic = self.graph.repartition_topic(base, partitions)
        parent = self.node
        if not without_key:
            parent = f"{base}-keyed"
            self.graph.operator(parent, "with key", [self.node], WithKey, fields=(), passes_on=True)
        self.graph.add(SinkNode(f"{base}-sink", topic, key, value, (parent,)))
        self.graph.add(SourceNode(base, (topic,), key, value))
        return KStream(self.graph, base, key, value, frozenset({topic}), self.stem)

    def through(self, topic: str, *, name: str | None = None) -> KStream[K, V]:
        """The same stream through a topic of the user's."""
        base = self.graph.name(self.stem, "through", name)
        key = needed(self.key, "key", f"operator {base!r}")
        value = needed(self.value, "value", f"operator {base!r}")
        self.graph.add(SinkNode(f"{base}-sink", topic, key, value, (self.node,)))
        self.graph.add(SourceNode(base, (topic,), key, value))
        return KStream(self.graph, base, key, value, frozenset({topic}), self.stem)

    def co_partitioned(self, stem: str, *, without_key: bool = False) -> KStream[K, V]:
        """This stream, repartitioned if its keys have changed since it was read."""
        return self.repartition(name=stem, without_key=without_key) if self.rekeyed else self

    def to(
        self,
        topic: str | type[V] | Callable[[Record[K, V]], str],
        *,
        key: Kind[K] | None = None,
        value: Kind[V] | None = None,
        partitioner: Partitioner | None = None,
        name: str | None = None,
    ) -> None:
        """Writes the stream to a topic.

        Args:
            topic: Its name; an event class, whose topic it is; or a function that gives the topic for each record.
            partitioner: Chooses partitions from key, value and their number; None: by the key's hash.

        Raises:
            TopologyError: How keys or values are written is not known.
        """
        if isinstance(topic, type):
            declared = declared_event(topic)
            if declared is None:
                raise TopologyError(f"{topic.__qualname__} is no event: declare it with @event, or give the topic")
            value = value or topic
            topic = declared.topic
        base = self.graph.name(self.stem, "to", name)
        key_serde = needed(given(key, self.key), "key", f"operator {base!r}")
        value_serde = needed(given(value, self.value), "value", f"operator {base!r}")
        as_read = key_serde == self.key
        self.graph.add(SinkNode(base, topic, key_serde, value_serde, (self.node,), partitioner, keys_as_read=as_read))

    # -- by key ----------------------------------------------------------------------------------------------------

    @overload
    def group_by(self, by: str, *, key: None = None, name: str | None = None) -> GroupedStream[Any, V]: ...
    @overload
    def group_by(self, by: str, *, key: Kind[KR], name: str | None = None) -> GroupedStream[KR, V]: ...
    @overload
    def group_by(
        self, by: Callable[[K, V], KR], *, key: Kind[KR] | None = None, name: str | None = None
    ) -> GroupedStream[KR, V]: ...
    def group_by(self, by: Any, *, key: Any = None, name: str | None = None) -> GroupedStream[Any, V]:
        """The records by another key: what a function gives, or a field of the value by its name, which is quicker.

        Args:
            name: Of the repartition topic.
        """
        from ottla.streams.dsl.grouped import GroupedStream

        return GroupedStream(self.select_key(by, key=key), name)

    def group_by_key(self, *, name: str | None = None) -> GroupedStream[K, V]:
        """The records by their key."""
        from ottla.streams.dsl.grouped import GroupedStream

        return GroupedStream(self, name)

    def to_table(self, *, store: Store = None, name: str | None = None) -> KTable[K, V]:
        """The stream as a table: the newest record of each key counts, one without a value deletes."""
        from ottla.streams.dsl.tables import to_table

        return to_table(self, materialized(store), name)

    # -- steps of one's own ----------------------------------------------------------------------------------------

    def process(
        self,
        processor: Callable[[], Processor[K, V]],
        *,
        stores: Sequence[str] = (),
        key: Kind[KR] | None = None,
        value: Kind[VR] | None = None,
        name: str | None = None,
    ) -> KStream[KR, VR]:
        """A processor for each task (a class, or a function that makes one). What it forwards is the stream.

        Args:
            stores: Names of stores it uses (`StreamsBuilder.add_store`, or those of tables).
            key, value: How what it forwards is written.
        """
        from ottla.streams.operators.process import ProcessOperator

        names = tuple(stores)
        stream: KStream[Any, Any] = self._next(
            "process",
            name,
            lambda: ProcessOperator(processor, names, fixed_key=False),
            given(key, None),
            given(value, None),
            rekeyed=True,
        )
        self._connect(stream.node, names)
        return stream

    @overload
    def process_values(
        self,
        step: Callable[[K, V], Awaitable[VR]],
        *,
        stores: Sequence[str] = (),
        concurrency: int = ...,
        value: Kind[VR] | None = None,
        name: str | None = None,
    ) -> KStream[K, VR]: ...
    @overload
    def process_values(
        self,
        step: Callable[[], Processor[K, V]],
        *,
        stores: Sequence[str] = (),
        concurrency: int = ...,
        value: Kind[VR] | None = None,
        name: str | None = None,
    ) -> KStream[K, VR]: ...
    def process_values(
        self,
        step: Any,
        *,
        stores: Sequence[str] = (),
        concurrency: int = 64,
        value: Any = None,
        name: str | None = None,
    ) -> KStream[K, Any]:
        """A processor that keeps the keys, so that nothing is repartitioned; or an async function of key and value.

        An async function is awaited for up to `concurrency` records at once, for one key never for two, and results
        come out in the order of the records.
        """
        from ottla.streams.operators.asynchronous import AsyncMapValues
        from ottla.streams.operators.process import ProcessOperator

        if inspect.iscoroutinefunction(step):
            found = given(value, returned(step))
            return self._next("process-values", name, lambda: AsyncMapValues(step, concurrency), self.key, found)
        names = tuple(stores)
        stream: KStream[K, Any] = self._next(
            "process-values",
            name,
            lambda: ProcessOperator(step, names, fixed_key=True),
            self.key,
            given(value, None),
        )
        self._connect(stream.node, names)
        return stream

    def child(self, name: str) -> KStream[K, V]:
        """A child by its name, for processors that forward to children by theirs."""
        return self._same("child", name, PassOn)

    # -- joins -----------------------------------------------------------------------------------------------------

    @overload
    def join(
        self,
        other: KStream[K, VO],
        joiner: Callable[[V, VO], VR],
        within: JoinWindows,
        *,
        value: Kind[VR] | None = None,
        name: str | None = None,
    ) -> KStream[K, VR]: ...
    @overload
    def join(
        self,
        other: KTable[K, VO],
        joiner: Callable[[V, VO], VR],
        *,
        value: Kind[VR] | None = None,
        name: str | None = None,
    ) -> KStream[K, VR]: ...
    @overload
    def join(
        self,
        other: GlobalTable[GK, VO],
        joiner: Callable[[V, VO], VR],
        *,
        by: Callable[[K, V], GK],
        value: Kind[VR] | None = None,
        name: str | None = None,
    ) -> KStream[K, VR]: ...
    def join(
        self, other: Any, joiner: Any, within: Any = None, *, by: Any = None, value: Any = None, name: Any = None
    ) -> Any:
        """Each record with its partners: of a stream within a window of time, of a table by the record's key, of a
        global table by what a function gives. Records without a partner come out not at all.

        Raises:
            TopologyError: A window is missing, or is given where it means nothing.
        """
        from ottla.streams.dsl.joins import join

        return join(self, other, joiner, within, by, value, name, left=False, outer=False)

    @overload
    def left_join(
        self,
        other: KStream[K, VO],
        joiner: Callable[[V, VO | None], VR],
        within: JoinWindows,
        *,
        value: Kind[VR] | None = None,
        name: str | None = None,
    ) -> KStream[K, VR]: ...
    @overload
    def left_join(
        self,
        other: KTable[K, VO],
        joiner: Callable[[V, VO | None], VR],
        *,
        value: Kind[VR] | None = None,
        name: str | None = None,
    ) -> KStream[K, VR]: ...
    @overload
    def left_join(
        self,
        other: GlobalTable[GK, VO],
        joiner: Callable[[V, VO | None], VR],
        *,
        by: Callable[[K, V], GK],
        value: Kind[VR] | None = None,
        name: str | None = None,
    ) -> KStream[K, VR]: ...
    def left_join(
        self, other: Any, joiner: Any, within: Any = None, *, by: Any = None, value: Any = None, name: Any = None
    ) -> Any:
        """The same; records of this stream without a partner come out with None: from a stream once their window and
        its grace have passed."""
        from ottla.streams.dsl.joins import join

        return join(self, other, joiner, within, by, value, name, left=True, outer=False)

    def outer_join(
        self,
        other: KStream[K, VO],
        joiner: Callable[[V | None, VO | None], VR],
        within: JoinWindows,
        *,
        value: Kind[VR] | None = None,
        name: str | None = None,
    ) -> KStream[K, VR]:
        """The same of two streams; records of either without a partner come out with None."""
        from ottla.streams.dsl.joins import join

        return join(self, other, joiner, within, None, value, name, left=True, outer=True)  # type: ignore[no-any-return]

    # -- within the DSL --------------------------------------------------------------------------------------------

    def _same(self, operation: str, name: str | None, make: Callable[[], Operator]) -> KStream[K, V]:
        return self._next(operation, name, make, self.key, self.value)

    def _next(
        self,
        operation: str,
        name: str | None,
        make: Callable[[], Operator],
        key: Serde[Any] | None,
        value: Serde[Any] | None,
        *,
        rekeyed: bool = False,
    ) -> KStream[Any, Any]:
        named = self.graph.name(self.stem, operation, name)
        self.graph.operator(named, operation, [self.node], make)
        return KStream(self.graph, named, key, value, self.sources, self.stem, rekeyed=rekeyed or self.rekeyed)

    def _connect(self, node: str, stores: Sequence[str]) -> None:
        draft = self.graph.nodes[node]
        assert isinstance(draft, Draft)
        for store in stores:
            if store not in self.graph.stores:
                raise TopologyError(f"operator {node!r}: there is no store {store!r}; add it first (add_store)")
            draft.stores.append(store)


def field_serde(value: Serde[Any] | None, field: str) -> Serde[Any] | None:
    """How a field of an event is written by itself, by its type."""
    from ottla.events.fields import class_fields
    from ottla.streams.event_serde import EventSerde
    from ottla.streams.inference import of_hint

    if not isinstance(value, EventSerde):
        return None
    for cls in value.classes:
        found = {one.name: one for one in class_fields(cls)}
        if field not in found:
            raise TopologyError(f"{cls.__qualname__} has no field {field!r}; it has {', '.join(found)}")
        return of_hint(found[field].annotation)
    return None
