"""How tables are made: from streams, from other tables, held back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from ottla.errors import TopologyError
from ottla.streams.dsl.graph import Draft, Graph, Materialized, Store, materialized, needed
from ottla.streams.dsl.stream import KStream
from ottla.streams.dsl.table import NO_BOUND, KTable
from ottla.streams.dsl.table_node import TableNode
from ottla.streams.inference import given, returned
from ottla.streams.operators.base import Operator
from ottla.streams.operators.stateless import PassOn
from ottla.streams.operators.suppress import BufferBound, Suppress
from ottla.streams.operators.table_join import TableJoinMerge
from ottla.streams.operators.tables import TableFilter, TableMapValues, TableOptions, TableSource
from ottla.streams.serdes import RAW, Serde
from ottla.streams.windows import milliseconds


def table_source(
    graph: Graph,
    parent: str,
    node: str,
    key: Serde[Any] | None,
    value: Serde[Any] | None,
    sources: frozenset[str],
    stem: str,
    store: Store,
    history: timedelta | None = None,
) -> KTable[Any, Any]:
    """The table that records make. It is kept if the user names a store, or if somebody looks into it."""
    options = TableOptions()
    draft = graph.operator(node, "table", [parent], lambda: TableSource(options))
    table = TableNode(graph, draft, options, key, value)
    if history is not None:
        kept = materialized(store)
        history_ms = milliseconds(history, "the history of a versioned table")
        spec = graph.store(
            kept,
            f"{node}-store",
            "versioned",
            needed(key, "key", f"table {node!r}"),
            needed(value, "value", f"table {node!r}"),
            retention_ms=history_ms,
        )
        options.store, options.versioned = spec.name, True
        draft.stores.append(spec.name)
    elif store is not None:
        table.keep(materialized(store))
    return KTable(graph, table, sources, stem)


def to_table(stream: KStream[Any, Any], kept: Materialized, name: str | None) -> KTable[Any, Any]:
    """See `KStream.to_table`."""
    graph = stream.graph
    node = graph.name(stream.stem, "to-table", name)
    source = stream.co_partitioned(node + "-by-key")
    parent = source.node
    if kept.value is not None:
        # The table's values are written in another way than the stream's: their bytes must not go along.
        parent = f"{node}-values"
        graph.operator(parent, "values", [source.node], lambda: PassOn(with_bytes=False))
    # It is always kept, as in Kafka Streams: a stream can say nothing of what was before.
    return table_source(
        graph, parent, node, source.key, given(kept.value, source.value), source.sources, stream.stem, kept
    )


def filtered(
    table: KTable[Any, Any], predicate: Callable[[Any, Any], bool], negate: bool, store: Store, name: str | None
) -> KTable[Any, Any]:
    """See `KTable.filter`."""

    def derive(key: Any, value: Any) -> Any:
        return value if value is not None and bool(predicate(key, value)) != negate else None

    return _derived(
        table,
        "filter-not" if negate else "filter",
        lambda options: TableFilter(predicate, negate, options),
        derive,
        table.table.value,
        store,
        name,
    )


def mapped(
    table: KTable[Any, Any], mapper: Callable[..., Any], with_key: bool, value: Any, store: Store, name: str | None
) -> KTable[Any, Any]:
    """See `KTable.map_values`."""

    def derive(key: Any, row: Any) -> Any:
        return None if row is None else mapper(key, row) if with_key else mapper(row)

    serde = given(value if value is not None else materialized(store).value, returned(mapper))
    return _derived(
        table, "map-values", lambda options: TableMapValues(mapper, with_key, options), derive, serde, store, name
    )


def _derived(
    table: KTable[Any, Any],
    operation: str,
    make: Callable[[TableOptions], Operator],
    derive: Callable[[Any, Any], Any],
    value: Serde[Any] | None,
    store: Store,
    name: str | None,
) -> KTable[Any, Any]:
    graph = table.graph
    node = graph.name(table.stem, operation, name)
    options = TableOptions()
    draft = graph.operator(node, f"table {operation}", [table.table.draft.name], lambda: make(options))
    made = TableNode(graph, draft, options, table.table.key, value, table.table, derive)
    if store is not None:
        made.keep(_without_ttl(store, node))
    return KTable(graph, made, table.sources, table.stem, grace_ms=table.grace_ms)


def kept_table(
    graph: Graph,
    parents: list[str],
    node: str,
    operation: str,
    key: Serde[Any] | None,
    value: Serde[Any] | None,
    sources: frozenset[str],
    stem: str,
    store: Store,
    grace_ms: int | None = None,
) -> KTable[Any, Any]:
    """A table of changes that were computed; kept if the user names a store, or if somebody looks into it."""
    options = TableOptions()
    draft = graph.operator(node, operation, parents, lambda: TableJoinMerge(options))
    table = TableNode(graph, draft, options, key, value)
    if store is not None:
        table.keep(_without_ttl(store, node))
    return KTable(graph, table, sources, stem, grace_ms=grace_ms)


def _without_ttl(store: Store, node: str) -> Materialized:
    kept = materialized(store)
    if kept.ttl is not None:
        raise TopologyError(
            f"operator {node!r}: its rows follow from other tables and go with theirs: give the ttl to those"
        )
    return kept


def suppressed_until_close(table: KTable[Any, Any], bound: BufferBound | None, name: str | None) -> KTable[Any, Any]:
    """See `KTable.suppress_until_close`."""
    if table.grace_ms is None:
        raise TopologyError("suppress_until_close needs a windowed table: windowed_by(...) before the aggregation")
    if bound is not None and bound.when_full != "fail":
        raise TopologyError(
            "suppress_until_close cannot let windows go early, they would come twice: use BufferBound(..., "
            'when_full="fail"), or suppress_for(...)'
        )
    return _suppressed(table, table.grace_ms, True, bound or NO_BOUND, name)


def suppressed_for(table: KTable[Any, Any], wait: timedelta, bound: BufferBound, name: str | None) -> KTable[Any, Any]:
    """See `KTable.suppress_for`."""
    return _suppressed(table, milliseconds(wait, "the time changes are held back"), False, bound, name)


def _suppressed(
    table: KTable[Any, Any], wait_ms: int, until_close: bool, bound: BufferBound, name: str | None
) -> KTable[Any, Any]:
    graph = table.graph
    node = graph.name(table.stem, "suppress", name)
    key = needed(table.table.key, "key", f"operator {node!r}")
    value = needed(table.table.value, "value", f"operator {node!r}")
    store = graph.store(Materialized(f"{node}-store"), "", "buffer", RAW, RAW).name
    graph.add(
        Draft(
            f"{node}-buffer",
            "suppress",
            [table.table.draft.name],
            lambda: Suppress(store, wait_ms, until_close, bound, key, value),
            [store],
        )
    )
    return kept_table(
        graph, [f"{node}-buffer"], node, "suppressed", key, value, table.sources, table.stem, None, table.grace_ms
    )
