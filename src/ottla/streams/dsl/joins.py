"""Joins of a stream: with a stream, a table, a global table."""

from __future__ import annotations

from typing import Any

from ottla.errors import TopologyError
from ottla.streams.context import TaskContext
from ottla.streams.dsl.global_table import GlobalTable
from ottla.streams.dsl.graph import Materialized, needed
from ottla.streams.dsl.stream import KStream
from ottla.streams.dsl.table import KTable
from ottla.streams.dsl.table_node import store_lookup
from ottla.streams.inference import given, returned
from ottla.streams.operators.stateless import PassOn
from ottla.streams.operators.stream_join import JoinPlan, JoinSide
from ottla.streams.operators.table_join import StreamTableJoin
from ottla.streams.serdes import RAW
from ottla.streams.windows import JoinWindows


def join(
    stream: KStream[Any, Any],
    other: Any,
    joiner: Any,
    within: JoinWindows | None,
    by: Any,
    value: Any,
    name: str | None,
    *,
    left: bool,
    outer: bool,
) -> Any:
    """See `KStream.join`."""
    if isinstance(other, KStream):
        if not isinstance(within, JoinWindows):
            raise TopologyError("a join of two streams needs a window: join(other, joiner, within(timedelta(...)))")
        return join_streams(stream, other, joiner, within, value, name, left=left, outer=outer)
    if within is not None:
        raise TopologyError("a join with a table takes no window: the table holds what is valid")
    if isinstance(other, KTable):
        return _join_table(stream, other, joiner, value, name, left=left)
    if isinstance(other, GlobalTable):
        if by is None:
            raise TopologyError(
                "a join with a global table needs to know its key: join(table, joiner, by=lambda k, v: ...)"
            )
        return _join_global(stream, other, joiner, by, value, name, left=left)
    raise TopologyError(f"a stream cannot be joined with a {type(other).__name__}")


def join_streams(
    left_stream: KStream[Any, Any],
    right_stream: KStream[Any, Any],
    joiner: Any,
    windows: JoinWindows,
    value: Any,
    name: str | None,
    *,
    left: bool,
    outer: bool,
) -> KStream[Any, Any]:
    """Two streams, record by record within the window."""
    graph = left_stream.graph
    base = graph.name(left_stream.stem, "outer-join" if outer else "left-join" if left else "join", name)
    # A record without a key can have no partner, but where its side is outer it comes out alone (KIP-962).
    a = left_stream.co_partitioned(f"{base}-left-by-key", without_key=left)
    b = right_stream.co_partitioned(f"{base}-right-by-key", without_key=outer)
    graph.copartitioned.append((f"join {base!r}", a.sources | b.sources))
    key = needed(a.key or b.key, "key", f"join {base!r}")
    stores = []
    for side, stream in (("left", a), ("right", b)):
        values = needed(stream.value, "value", f"the {side} side of join {base!r}")
        spec = graph.store(
            Materialized(f"{base}-{side}-store"),
            "",
            "window",
            key,
            values,
            retention_ms=windows.retention_ms,
            duplicates=True,
        )
        stores.append(spec.name)
    alone = None
    if left or outer:
        alone = graph.store(Materialized(f"{base}-alone-store"), "", "buffer", RAW, RAW).name
        stores.append(alone)
    plan = JoinPlan(windows, joiner, stores[0], stores[1], alone, left, outer, base)
    graph.operator(f"{base}-left", "join side", [a.node], lambda: JoinSide(plan, is_left=True), stores=list(stores))
    graph.operator(f"{base}-right", "join side", [b.node], lambda: JoinSide(plan, is_left=False), stores=list(stores))
    graph.operator(base, "join", [f"{base}-left", f"{base}-right"], PassOn)
    return KStream(graph, base, key, given(value, returned(joiner)), a.sources | b.sources, left_stream.stem)


def _join_table(
    stream: KStream[Any, Any], table: KTable[Any, Any], joiner: Any, value: Any, name: str | None, *, left: bool
) -> KStream[Any, Any]:
    graph = stream.graph
    base = graph.name(stream.stem, "left-join-table" if left else "join-table", name)
    source = stream.co_partitioned(f"{base}-by-key", without_key=left)
    graph.copartitioned.append((f"join {base!r}", source.sources | table.sources))
    table.table.need_lookup()
    as_of = table.table.as_of()
    graph.operator(
        base,
        "join table",
        [source.node],
        lambda: StreamTableJoin(as_of, joiner, left),
        stores=table.table.lookup_stores(),
    )
    return KStream(graph, base, source.key, given(value, returned(joiner)), source.sources | table.sources, stream.stem)


def _join_global(
    stream: KStream[Any, Any],
    table: GlobalTable[Any, Any],
    joiner: Any,
    by: Any,
    value: Any,
    name: str | None,
    *,
    left: bool,
) -> KStream[Any, Any]:
    graph = stream.graph
    base = graph.name(stream.stem, "left-join-global" if left else "join-global", name)

    def look(context: TaskContext) -> Any:
        found = store_lookup(context, table.store)

        def now(key: Any, time_ms: int) -> Any:
            held = found(key)
            return None if held is None else held.value

        return now

    graph.operator(
        base, "join global table", [stream.node], lambda: StreamTableJoin(look, joiner, left, by), stores=[table.store]
    )
    return KStream(
        graph, base, stream.key, given(value, returned(joiner)), stream.sources, stream.stem, rekeyed=stream.rekeyed
    )
