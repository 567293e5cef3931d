"""Grouped streams by window."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ottla.errors import TopologyError
from ottla.streams.aggregates import Aggregate, Count
from ottla.streams.dsl.graph import Draft, Store, materialized, needed
from ottla.streams.dsl.grouped import fold_of, result_node, summary_of
from ottla.streams.dsl.stream import KStream
from ottla.streams.dsl.table import KTable
from ottla.streams.dsl.table_node import TableNode
from ottla.streams.folds import DeclaredFold, Fold, ReduceFold
from ottla.streams.inference import Kind
from ottla.streams.operators.session import SessionAggregate
from ottla.streams.operators.sliding import SlidingAggregate
from ottla.streams.operators.stateless import PassOn
from ottla.streams.operators.tables import TableOptions
from ottla.streams.operators.windowed import WindowAggregate, WindowOptions
from ottla.streams.serdes import LONG, Serde
from ottla.streams.windowed_serde import SessionKeySerde, TimeKeySerde
from ottla.streams.windows import SessionWindows, SlidingWindows, TimeWindows, Windowed

if TYPE_CHECKING:
    from ottla.streams.dsl.grouped import GroupedStream

K = TypeVar("K")
V = TypeVar("V")
VR = TypeVar("VR")


class _ByWindow(Generic[K, V]):
    """What windowed streams have in common."""

    def __init__(self, grouped: GroupedStream[K, V], windows: Any) -> None:
        self._grouped = grouped
        self._windows = windows
        self._on_close = False
        self._last: tuple[Draft, WindowOptions, KStream[K, V]] | None = None

    def late_records(self, *, name: str | None = None) -> KStream[K, V]:
        """The records that came after their windows had closed, as a stream; they are counted in any case.

        Call it after the aggregation.

        Raises:
            TopologyError: Nothing was aggregated yet.
        """
        if self._last is None:
            raise TopologyError("late_records() is of an aggregation: call count(), reduce() or aggregate() before it")
        draft, options, source = self._last
        graph = source.graph
        node = graph.name(draft.name, "late", name)
        graph.operator(node, "late records", [draft.name], PassOn)
        options.late = node
        draft.fields = None
        return KStream(graph, node, source.key, source.value, source.sources, source.stem)

    def _aggregated(
        self,
        operation: str,
        fold: Fold,
        state: Serde[Any] | None,
        store: Store,
        name: str | None,
        value: Serde[Any] | None = None,
    ) -> KTable[Windowed[K], Any]:
        stream = self._grouped.stream
        node = stream.graph.name(stream.stem, f"windowed-{operation}", name)
        return window_table(
            self._grouped.source(node), node, operation, fold, self._windows, self._on_close, state, value, store, self
        )

    def remember(self, draft: Draft, options: WindowOptions, source: KStream[Any, Any]) -> None:
        """The aggregation whose late records may be asked for."""
        self._last = (draft, options, source)


def window_table(
    source: KStream[Any, Any],
    node: str,
    operation: str,
    fold: Fold,
    windows: TimeWindows | SlidingWindows | SessionWindows,
    on_close: bool,
    state: Serde[Any] | None,
    value: Serde[Any] | None,
    store: Store,
    owner: _ByWindow[Any, Any] | None = None,
) -> KTable[Any, Any]:
    """The table of a windowed aggregation."""
    graph = source.graph
    where = f"operator {node!r}"
    key, written = needed(source.key, "key", where), needed(state, "value", where)
    kind: Any = "session" if isinstance(windows, SessionWindows) else "window"
    spec = graph.store(materialized(store), f"{node}-store", kind, key, written, retention_ms=windows.retention_ms)
    options, window_options = TableOptions(spec.name), WindowOptions(on_close)

    def make() -> Any:
        match windows:
            case TimeWindows():
                return WindowAggregate(fold, windows, options, window_options)
            case SlidingWindows():
                return SlidingAggregate(fold, windows, options, window_options)
            case SessionWindows():
                return SessionAggregate(fold, windows, options, window_options)

    draft = graph.operator(node, operation, [source.node], make, stores=[spec.name], fields=fold.fields)
    if owner is not None:
        owner.remember(draft, window_options, source)
    windowed_key: Serde[Any] = SessionKeySerde(key) if kind == "session" else TimeKeySerde(key, windows.size_ms)  # type: ignore[union-attr]
    table = TableNode(graph, draft, options, windowed_key, state)
    grace = windows.grace_ms + (windows.gap_ms if isinstance(windows, SessionWindows) else 0)
    return KTable(graph, result_node(table, fold, value or state), source.sources, source.stem, grace_ms=grace)


class WindowedStream(_ByWindow[K, V]):
    """The records of a stream by key and tumbling, hopping or sliding window."""

    def on_close(self) -> WindowedStream[K, V]:
        """Each window comes out once, when it has closed, and not at every change."""
        self._on_close = True
        return self

    def count(self, *, store: Store = None, name: str | None = None) -> KTable[Windowed[K], int]:
        """How many records each key has in each window."""
        return self._aggregated("count", DeclaredFold(Count()), LONG, store, name)

    def reduce(
        self, reducer: Callable[[V, V], V], *, store: Store = None, name: str | None = None
    ) -> KTable[Windowed[K], V]:
        """See `GroupedStream.reduce`."""
        return self._aggregated("reduce", ReduceFold(reducer), self._grouped.stream.value, store, name)

    @overload
    def aggregate(
        self,
        initializer: Callable[[], VR],
        aggregator: Callable[[K, V, VR], VR],
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[Windowed[K], VR]: ...
    @overload
    def aggregate(
        self,
        initializer: Aggregate[VR],
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[Windowed[K], VR]: ...
    def aggregate(
        self, initializer: Any, aggregator: Any = None, *, value: Any = None, store: Store = None, name: Any = None
    ) -> KTable[Windowed[K], Any]:
        """See `GroupedStream.aggregate`."""
        fold, serde = fold_of(self._grouped.stream.value, initializer, aggregator, value, store)
        return self._aggregated("aggregate", fold, serde, store, name)

    def summarise(
        self, into: Callable[..., VR], *, store: Store = None, name: str | None = None, **parts: Aggregate[Any]
    ) -> KTable[Windowed[K], VR]:
        """See `GroupedStream.summarise`."""
        fold, state, value = summary_of(self._grouped.stream.value, into, parts, store)
        return self._aggregated("summarise", fold, state, store, name, value)


class SessionStream(_ByWindow[K, V]):
    """The records of a stream by key and session."""

    def on_close(self) -> SessionStream[K, V]:
        """Each session comes out once, when it has closed, and not at every change."""
        self._on_close = True
        return self

    def count(self, *, store: Store = None, name: str | None = None) -> KTable[Windowed[K], int]:
        """How many records each session has."""
        return self._aggregated("count", DeclaredFold(Count()), LONG, store, name)

    def reduce(
        self, reducer: Callable[[V, V], V], *, store: Store = None, name: str | None = None
    ) -> KTable[Windowed[K], V]:
        """See `GroupedStream.reduce`; it also makes one of two sessions."""
        return self._aggregated("reduce", ReduceFold(reducer), self._grouped.stream.value, store, name)

    @overload
    def aggregate(
        self,
        initializer: Callable[[], VR],
        aggregator: Callable[[K, V, VR], VR],
        merger: Callable[[K, VR, VR], VR],
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[Windowed[K], VR]: ...
    @overload
    def aggregate(
        self,
        initializer: Aggregate[VR],
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[Windowed[K], VR]: ...
    def aggregate(
        self,
        initializer: Any,
        aggregator: Any = None,
        merger: Any = None,
        *,
        value: Any = None,
        store: Store = None,
        name: Any = None,
    ) -> KTable[Windowed[K], Any]:
        """See `GroupedStream.aggregate`; `merger` makes one state of two sessions that became one."""
        if aggregator is not None and merger is None:
            raise TopologyError("aggregate over sessions needs a merger: from key and two states to one")
        fold, serde = fold_of(self._grouped.stream.value, initializer, aggregator, value, store, merger)
        return self._aggregated("aggregate", fold, serde, store, name)

    def summarise(
        self, into: Callable[..., VR], *, store: Store = None, name: str | None = None, **parts: Aggregate[Any]
    ) -> KTable[Windowed[K], VR]:
        """See `GroupedStream.summarise`."""
        fold, state, value = summary_of(self._grouped.stream.value, into, parts, store)
        return self._aggregated("summarise", fold, state, store, name, value)
