"""Several grouped streams into one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ottla.streams.dsl.graph import Store, materialized
from ottla.streams.dsl.grouped import aggregated, initial_serde
from ottla.streams.dsl.stream import KStream
from ottla.streams.dsl.table import KTable
from ottla.streams.dsl.windowed import window_table
from ottla.streams.folds import CogroupFold
from ottla.streams.inference import Kind, given
from ottla.streams.operators.aggregation import StreamAggregate
from ottla.streams.operators.stateless import MapValues, PassOn
from ottla.streams.operators.tables import TableOptions
from ottla.streams.windows import SessionWindows, SlidingWindows, TimeWindows, Windowed

if TYPE_CHECKING:
    from ottla.streams.dsl.grouped import GroupedStream

K = TypeVar("K")
V = TypeVar("V")
VR = TypeVar("VR")


class CogroupedStream(Generic[K, VR]):
    """Grouped streams, each with the function that takes its values into the state they share."""

    def __init__(self, grouped: GroupedStream[K, Any], aggregator: Callable[[K, Any, VR], VR]) -> None:
        self._parts: list[tuple[GroupedStream[K, Any], Callable[[K, Any, VR], VR]]] = [(grouped, aggregator)]

    def cogroup(self, grouped: GroupedStream[K, V], aggregator: Callable[[K, V, VR], VR]) -> CogroupedStream[K, VR]:
        """One more stream."""
        self._parts.append((grouped, aggregator))
        return self

    def windowed_by(self, windows: TimeWindows | SlidingWindows | SessionWindows) -> WindowedCogroup[K, VR]:
        """The same by window."""
        return WindowedCogroup(self, windows)

    def aggregate(
        self,
        initializer: Callable[[], VR],
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[K, VR]:
        """The table of the states."""
        graph, source, node = self.merged("cogroup", name)
        fold = CogroupFold(initializer, self.aggregators)
        serde = given(
            value if value is not None else materialized(store).value, initial_serde(initializer, self.aggregators[0])
        )
        options = TableOptions()
        draft = graph.operator(node, "cogroup", [source.node], lambda: StreamAggregate(fold, options))
        return aggregated(graph, draft, options, source, fold, serde, serde, store)

    @property
    def aggregators(self) -> list[Callable[[K, Any, VR], VR]]:
        """Of the streams, in their order."""
        return [aggregator for _, aggregator in self._parts]

    def merged(self, operation: str, name: str | None) -> tuple[Any, KStream[K, Any], str]:
        """All streams as one, whose values say which stream they are of."""
        first = self._parts[0][0].stream
        graph = first.graph
        node = graph.name(first.stem, operation, name)
        sources = [grouped.source(f"{node}-{number}") for number, (grouped, _) in enumerate(self._parts)]
        together = frozenset().union(*(source.sources for source in sources))
        graph.copartitioned.append((f"cogroup {node!r}", together))
        parents = []
        for number, source in enumerate(sources):
            tag = graph.name(node, f"input-{number}")
            graph.operator(tag, "cogroup input", [source.node], _tagger(number))
            parents.append(tag)
        merged = graph.name(node, "inputs")
        alike = all(source.key == sources[0].key for source in sources)
        graph.operator(merged, "merge", parents, lambda: PassOn(with_bytes=alike))
        return graph, KStream(graph, merged, sources[0].key, None, together, first.stem), node


class WindowedCogroup(Generic[K, VR]):
    """Several grouped streams by key and window."""

    def __init__(
        self, cogrouped: CogroupedStream[K, VR], windows: TimeWindows | SlidingWindows | SessionWindows
    ) -> None:
        self._cogrouped = cogrouped
        self._windows = windows

    def aggregate(
        self,
        initializer: Callable[[], VR],
        merger: Callable[[K, VR, VR], VR] | None = None,
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[Windowed[K], VR]:
        """The table of the states. `merger` makes one of two sessions; only sessions need it."""
        _, source, node = self._cogrouped.merged("windowed-cogroup", name)
        aggregators = self._cogrouped.aggregators
        serde = given(
            value if value is not None else materialized(store).value, initial_serde(initializer, aggregators[0])
        )
        fold = CogroupFold(initializer, aggregators, merger)
        return window_table(source, node, "cogroup", fold, self._windows, False, serde, serde, store)


def _tagger(number: int) -> Callable[[], MapValues]:
    # A record without a value stays one: it takes no part.
    return lambda: MapValues(lambda value: None if value is None else (number, value))
