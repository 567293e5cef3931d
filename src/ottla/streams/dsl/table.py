"""`KTable`: a table that changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from ottla.streams.dsl.graph import Graph, Store
from ottla.streams.dsl.table_node import TableNode
from ottla.streams.inference import Kind
from ottla.streams.operators.suppress import BufferBound
from ottla.streams.operators.tables import ToStream

if TYPE_CHECKING:
    from ottla.streams.dsl.grouped import GroupedTable
    from ottla.streams.dsl.stream import KStream

K = TypeVar("K")
V = TypeVar("V")
KR = TypeVar("KR")
VR = TypeVar("VR")
VO = TypeVar("VO")
KO = TypeVar("KO")

NO_BOUND = BufferBound()


class KTable(Generic[K, V]):
    """A table with keys `K` and values `V`: a stream of changes, each of which replaces the row of its key.

    Attributes:
        table: What the graph knows of it.
        grace_ms: Of the windows its keys are in; None if they are in none.
    """

    def __init__(
        self, graph: Graph, table: TableNode, sources: frozenset[str], stem: str, *, grace_ms: int | None = None
    ) -> None:
        self.graph = graph
        self.table = table
        self.sources = sources
        self.stem = stem
        self.grace_ms = grace_ms

    @property
    def store(self) -> str | None:
        """The name of the store it is kept in; None if it is kept in none."""
        return self.table.options.store

    def filter(
        self, predicate: Callable[[K, V], bool], *, store: Store = None, name: str | None = None
    ) -> KTable[K, V]:
        """The rows a predicate says yes to; one that no longer belongs is deleted."""
        from ottla.streams.dsl.tables import filtered

        return filtered(self, predicate, False, store, name)

    def filter_not(
        self, predicate: Callable[[K, V], bool], *, store: Store = None, name: str | None = None
    ) -> KTable[K, V]:
        """The rows a predicate says no to."""
        from ottla.streams.dsl.tables import filtered

        return filtered(self, predicate, True, store, name)

    def map_values(
        self,
        mapper: Callable[[V], VR],
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[K, VR]:
        """Another value for each row. It is not called for deleted rows."""
        from ottla.streams.dsl.tables import mapped

        return mapped(self, mapper, False, value, store, name)

    def map_values_with_key(
        self,
        mapper: Callable[[K, V], VR],
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[K, VR]:
        """The same, from key and value."""
        from ottla.streams.dsl.tables import mapped

        return mapped(self, mapper, True, value, store, name)

    def to_stream(self, *, name: str | None = None) -> KStream[K, V]:
        """The changes as records; a deleted row is a record without a value."""
        from ottla.streams.dsl.stream import KStream

        node = self.graph.name(self.stem, "to-stream", name)
        self.graph.operator(node, "to stream", [self.table.draft.name], ToStream)
        return KStream(self.graph, node, self.table.key, self.table.value, self.sources, self.stem)

    def to_stream_by(
        self, by: Callable[[K, V], KR], *, key: Kind[KR] | None = None, name: str | None = None
    ) -> KStream[KR, V]:
        """The same under another key: `to_stream().select_key(...)`."""
        return self.to_stream(name=name).select_key(by, key=key)

    def group_by(
        self,
        selector: Callable[[K, V], tuple[KR, VR]],
        *,
        key: Kind[KR] | None = None,
        value: Kind[VR] | None = None,
        name: str | None = None,
    ) -> GroupedTable[KR, VR]:
        """The rows by other keys: the function gives the group and what counts there."""
        from ottla.streams.dsl.grouped import grouped_table

        return grouped_table(self, selector, key, value, name)

    def suppress_until_close(self, bound: BufferBound | None = None, *, name: str | None = None) -> KTable[K, V]:
        """Of a windowed table, the last value of each window, once it has closed (its end and grace have passed).

        Args:
            bound: How much is held back at most. By default there is no bound; with one the application stops when it
                is reached, as handing on early would break the promise.

        Raises:
            TopologyError: The table is not windowed, or the bound would emit early.
        """
        from ottla.streams.dsl.tables import suppressed_until_close

        return suppressed_until_close(self, bound, name)

    def suppress_for(self, wait: timedelta, bound: BufferBound = NO_BOUND, *, name: str | None = None) -> KTable[K, V]:
        """At most one change per key in a span of stream time: the newest.

        Args:
            bound: How much is held back at most, and what happens then.
        """
        from ottla.streams.dsl.tables import suppressed_for

        return suppressed_for(self, wait, bound, name)

    def join(
        self,
        other: KTable[K, VO],
        joiner: Callable[[V, VO], VR],
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[K, VR]:
        """The rows that both tables have."""
        from ottla.streams.dsl.table_joins import join_tables

        return join_tables(self, other, joiner, value, store, name, left=False, outer=False)

    def left_join(
        self,
        other: KTable[K, VO],
        joiner: Callable[[V, VO | None], VR],
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[K, VR]:
        """The rows of this table, with None where the other has none."""
        from ottla.streams.dsl.table_joins import join_tables

        return join_tables(self, other, joiner, value, store, name, left=True, outer=False)

    def outer_join(
        self,
        other: KTable[K, VO],
        joiner: Callable[[V | None, VO | None], VR],
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[K, VR]:
        """The rows that either table has."""
        from ottla.streams.dsl.table_joins import join_tables

        return join_tables(self, other, joiner, value, store, name, left=True, outer=True)

    def join_by(
        self,
        other: KTable[KO, VO],
        foreign_key: Callable[[V], KO | None],
        joiner: Callable[[V, VO], VR],
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[K, VR]:
        """The rows of this table with the row of the other that they name (a foreign key). When that row changes, all
        that name it change."""
        from ottla.streams.dsl.table_joins import join_by_foreign_key

        return join_by_foreign_key(self, other, foreign_key, joiner, value, store, name, left=False)

    def left_join_by(
        self,
        other: KTable[KO, VO],
        foreign_key: Callable[[V], KO | None],
        joiner: Callable[[V, VO | None], VR],
        *,
        value: Kind[VR] | None = None,
        store: Store = None,
        name: str | None = None,
    ) -> KTable[K, VR]:
        """The same; rows that name none, or one that is not there, come out with None."""
        from ottla.streams.dsl.table_joins import join_by_foreign_key

        return join_by_foreign_key(self, other, foreign_key, joiner, value, store, name, left=True)
