"""Grouped streams and tables: count, reduce, aggregate, windows."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ottla.errors import TopologyError
from ottla.streams.aggregates import Aggregate, Avg, Count
from ottla.streams.dsl.graph import Draft, Graph, Store, materialized, needed
from ottla.streams.dsl.stream import KStream, field_serde
from ottla.streams.dsl.table import KTable
from ottla.streams.dsl.table_node import TableNode
from ottla.streams.folds import DeclaredFold, Fold, ReduceFold, SummaryFold, UserFold
from ottla.streams.inference import JsonSerde, Kind, given, returned, returned_item, serde_of
from ottla.streams.operators.aggregation import StreamAggregate, TableAggregate
from ottla.streams.operators.grouping import Changes, ChangeSerde, RegroupTable
from ottla.streams.operators.tables import TableOptions
from ottla.streams.serdes import LONG, Serde
from ottla.streams.topology.nodes import SinkNode, SourceNode
from ottla.streams.windows import SessionWindows, SlidingWindows, TimeWindows

if TYPE_CHECKING:
    from ottla.streams.dsl.cogrouped import CogroupedStream
    from ottla.streams.dsl.windowed import SessionStream, WindowedStream

K = TypeVar("K")
V = TypeVar("V")
VR = TypeVar("VR")


class GroupedStream(Generic[K, V]):
    """The records of a stream by key. It is repartitioned if its keys have changed since it was read, once for all that
    is computed from it."""

    def __init__(self, stream: KStream[K, V], name: str | None) -> None:
        self._stream = stream
        self._name = name
        self._source: KStream[K, V] | None = None

    def source(self, base: str) -> KStream[K, V]:
        """The stream to aggregate."""
        if self._source is None:
            self._source = self._stream.co_partitioned(self._name or f"{base}-by-key")
        return self._source

    @property
    def stream(self) -> KStream[K, V]:
        """The stream before it is repartitioned."""
        return self._stream

    def count(self, *, store: Store = None, name: str | None = None) -> KTable[K, int]:
        """How many records each key has. Records without a value do not count."""
        return self._aggregated("count", DeclaredFold(Count()), LONG, store, name)

    def reduce(self, reducer: Callable[[V, V], V], *, store: Store = None, name: str | None = None) -> KTable[K, V]:
        """What a function makes of two values, again and again; of one it is the value itself."""
        return self._aggregated("reduce", ReduceFold(reducer), self._stream.value, store, name)

    @overload
    def aggregate(
        self,
        initializer: Callable[[], VR],
        aggregator: Callable[[K, V, VR], VR],
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[K, VR]: ...
    @overload
    def aggregate(
        self,
        initializer: Aggregate[VR],
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[K, VR]: ...
    def aggregate(
        self, initializer: Any, aggregator: Any = None, *, value: Any = None, store: Store = None, name: Any = None
    ) -> KTable[K, Any]:
        """What a function makes of key, value and what it made before (`initializer()` at first); or a declared
        aggregation over a field (`Sum("total_amount")`), which runs no Python of yours per record."""
        fold, serde = fold_of(self._stream.value, initializer, aggregator, value, store)
        return self._aggregated("aggregate", fold, serde, store, name)

    def summarise(
        self, into: Callable[..., VR], *, store: Store = None, name: str | None = None, **parts: Aggregate[Any]
    ) -> KTable[K, VR]:
        """Several declared aggregations as one object: `summarise(Totals, orders=Count(), total=Sum("amount"))`.

        Args:
            into: Makes the object from the results, by their names.

        Raises:
            TopologyError: A field is not there.
        """
        fold, state, value = summary_of(self._stream.value, into, parts, store)
        return self._aggregated("summarise", fold, state, store, name, value=value)

    def cogroup(self, aggregator: Callable[[K, V, VR], VR]) -> CogroupedStream[K, VR]:
        """Begins an aggregation of several grouped streams into one table."""
        from ottla.streams.dsl.cogrouped import CogroupedStream

        return CogroupedStream(self, aggregator)

    @overload
    def windowed_by(self, windows: TimeWindows | SlidingWindows) -> WindowedStream[K, V]: ...
    @overload
    def windowed_by(self, windows: SessionWindows) -> SessionStream[K, V]: ...
    def windowed_by(self, windows: Any) -> Any:
        """The records by key and window: `tumbling(...)`, `hopping(...)`, `sliding(...)` or `session(...)`."""
        from ottla.streams.dsl.windowed import SessionStream, WindowedStream

        return SessionStream(self, windows) if isinstance(windows, SessionWindows) else WindowedStream(self, windows)

    def _aggregated(
        self,
        operation: str,
        fold: Fold,
        state: Serde[Any] | None,
        store: Store,
        name: str | None,
        value: Serde[Any] | None = None,
    ) -> KTable[K, Any]:
        graph = self._stream.graph
        node = graph.name(self._stream.stem, operation, name)
        source = self.source(node)
        options = TableOptions()
        draft = graph.operator(
            node, operation, [source.node], lambda: StreamAggregate(fold, options), fields=fold.fields
        )
        return aggregated(graph, draft, options, source, fold, state, value or state, store)


def aggregated(
    graph: Graph,
    draft: Draft,
    options: TableOptions,
    source: KStream[Any, Any],
    fold: Fold,
    state: Serde[Any] | None,
    value: Serde[Any] | None,
    store: Store,
) -> KTable[Any, Any]:
    """The table of an aggregation that is kept in a timestamped store."""
    table = TableNode(graph, draft, options, source.key, state)
    table.keep(materialized(store))
    return KTable(graph, result_node(table, fold, value), source.sources, source.stem)


def result_node(table: TableNode, fold: Fold, value: Serde[Any] | None) -> TableNode:
    """What others see of a table whose store holds states: their results."""
    if fold.plain:
        return table
    return TableNode(
        table.graph,
        table.draft,
        ResultOptions(table.options),
        table.key,
        value,
        table,
        lambda key, state: fold.result(state),
    )


class ResultOptions(TableOptions):
    """Options of a table whose operator is another table's: results have no store of their own, and whether old
    values are sent is that operator's matter."""

    def __init__(self, of: TableOptions) -> None:
        self._of = of
        self.store = None
        self.versioned = False

    @property
    def sends_old(self) -> bool:
        return self._of.sends_old

    @sends_old.setter
    def sends_old(self, wanted: bool) -> None:
        self._of.sends_old = wanted


class GroupedTable(Generic[K, V]):
    """The rows of a table by other keys. A change takes the old value out of its group and puts the new one in."""

    def __init__(self, graph: Graph, node: str, key: Serde[Any], value: Serde[Any], topic: str, stem: str) -> None:
        self._graph = graph
        self._node = node
        self._key = key
        self._value = value
        self._sources = frozenset({topic})
        self._stem = stem

    def count(self, *, store: Store = None, name: str | None = None) -> KTable[K, int]:
        """How many rows each group has."""
        return self._aggregated("count", lambda: 0, lambda k, v, n: n + 1, lambda k, v, n: n - 1, LONG, store, name)

    def reduce(
        self,
        adder: Callable[[V, V], V],
        subtractor: Callable[[V, V], V],
        *,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[K, V]:
        """What a function makes of what there is and a value that comes; another undoes it for a value that goes."""
        return self._aggregated("reduce", None, adder, subtractor, self._value, store, name)

    def aggregate(
        self,
        initializer: Callable[[], VR],
        adder: Callable[[K, V, VR], VR],
        subtractor: Callable[[K, V, VR], VR],
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[K, VR]:
        """The same of key, value and what there is (`initializer()` at first)."""
        serde = given(value if value is not None else materialized(store).value, initial_serde(initializer, adder))
        return self._aggregated("aggregate", initializer, adder, subtractor, serde, store, name)

    def _aggregated(
        self,
        operation: str,
        initializer: Callable[[], Any] | None,
        adder: Callable[..., Any],
        subtractor: Callable[..., Any],
        value: Serde[Any] | None,
        store: Store,
        name: str | None,
    ) -> KTable[K, Any]:
        graph = self._graph
        node = graph.name(self._stem, f"table-{operation}", name)
        options = TableOptions()
        draft = graph.operator(
            node, operation, [self._node], lambda: TableAggregate(initializer, adder, subtractor, options)
        )
        table = TableNode(graph, draft, options, self._key, value)
        table.keep(materialized(store))
        return KTable(graph, table, self._sources, self._stem)


def grouped_table(
    table: KTable[Any, Any], selector: Callable[[Any, Any], tuple[Any, Any]], key: Any, value: Any, name: str | None
) -> GroupedTable[Any, Any]:
    """See `KTable.group_by`."""
    graph = table.graph
    base = graph.name(table.stem, "group-by", name)
    where = f"operator {base!r}"
    key_serde = needed(given(key, returned_item(selector, pair=0)), "key", where)
    value_serde = needed(given(value, returned_item(selector, pair=1)), "value", where)
    table.table.need_olds()
    topic = graph.repartition_topic(base, None)
    changes = ChangeSerde(value_serde)
    graph.operator(
        f"{base}-regroup", "regroup", [table.table.draft.name], lambda: RegroupTable(selector, table.table.versioned)
    )
    graph.add(SinkNode(f"{base}-sink", topic, key_serde, changes, (f"{base}-regroup",)))
    graph.add(SourceNode(f"{base}-source", (topic,), key_serde, changes))
    graph.operator(base, "changes", [f"{base}-source"], Changes)
    return GroupedTable(graph, base, key_serde, value_serde, topic, table.stem)


# --- what is computed, and how it is written ---


def fold_of(
    stream: Serde[Any] | None, initializer: Any, aggregator: Any, value: Any, store: Store, merger: Any = None
) -> tuple[Fold, Serde[Any] | None]:
    """The fold of an `aggregate` call, and the serde of its state."""
    value = value if value is not None else materialized(store).value
    if isinstance(initializer, Aggregate):
        if isinstance(initializer, Avg):
            return DeclaredFold(initializer), JsonSerde(_mean_of(_number(stream, initializer.field)))
        return DeclaredFold(initializer), given(value, aggregate_serde(stream, initializer))
    if aggregator is None:
        raise TopologyError("aggregate needs a function from key, value and state to state, or a declared aggregation")
    return UserFold(initializer, aggregator, merger), given(value, initial_serde(initializer, aggregator))


def summary_of(
    stream: Serde[Any] | None, into: Any, parts: dict[str, Aggregate[Any]], store: Store
) -> tuple[Fold, Serde[Any], Serde[Any] | None]:
    """The fold of a `summarise` call, the serde of its state, and of its result."""
    if not parts:
        raise TopologyError("summarise needs at least one aggregation: summarise(Totals, orders=Count())")
    kinds: list[Any] = []
    for part in parts.values():
        number: Any = int if isinstance(part, Count) else _number(stream, part.field or "")
        kinds.append(_mean_of(number) | None if isinstance(part, Avg) else number | None)
    result = given(materialized(store).value, returned(into))
    states: Any = types.GenericAlias(tuple, tuple(kinds))
    return SummaryFold(into, parts), JsonSerde(states), result


def aggregate_serde(stream: Serde[Any] | None, aggregate: Aggregate[Any]) -> Serde[Any] | None:
    """How the state of a declared aggregation is written: as the field is."""
    return LONG if isinstance(aggregate, Count) else field_serde(stream, aggregate.field or "")


def _mean_of(number: Any) -> Any:
    """The type of a mean's state: sum and count."""
    return types.GenericAlias(tuple, (number, int))


def _number(stream: Serde[Any] | None, field: str) -> Any:
    """The type of a field, as JSON keeps it."""
    from ottla.events.fields import class_fields
    from ottla.streams.event_serde import EventSerde

    field_serde(stream, field)  # says what is wrong with the name
    if isinstance(stream, EventSerde):
        return next(one.annotation for one in class_fields(stream.classes[0]) if one.name == field)
    return Any


def initial_serde(initializer: Callable[[], Any], aggregator: Callable[..., Any]) -> Serde[Any] | None:
    """The serde of a state: by what the functions say they return, else by what the initializer gives."""
    found = returned(aggregator) or returned(initializer)
    if found is not None:
        return found
    first = initializer()
    if first is None or isinstance(first, list | dict | set | tuple):
        return None  # of what, they do not say
    return serde_of(type(first))
