"""Joins of tables: by key, and by a foreign key."""

from __future__ import annotations

from typing import Any

from ottla.streams.dsl.graph import Materialized, Store, materialized, needed
from ottla.streams.dsl.table import KTable
from ottla.streams.dsl.tables import kept_table
from ottla.streams.inference import given, returned
from ottla.streams.operators.foreign_key import Answer, Publish, Resolve, ResponseSerde, Subscribe, SubscriptionSerde
from ottla.streams.operators.table_join import TableJoinSide
from ottla.streams.operators.tables import TableOptions
from ottla.streams.serdes import RAW
from ottla.streams.topology.nodes import SinkNode, SourceNode


def join_tables(
    a: KTable[Any, Any],
    b: KTable[Any, Any],
    joiner: Any,
    value: Any,
    store: Store,
    name: str | None,
    *,
    left: bool,
    outer: bool,
) -> KTable[Any, Any]:
    """See `KTable.join`, `left_join` and `outer_join`."""
    graph = a.graph
    base = graph.name(a.stem, "outer-join" if outer else "left-join" if left else "join", name)
    graph.copartitioned.append((f"join {base!r}", a.sources | b.sources))
    a.table.need_lookup()
    b.table.need_lookup()
    # Without the value before, a side could not tell a row that came from one that was never there.
    if left:
        a.table.need_olds()
    if outer:
        b.table.need_olds()
    options = TableOptions()
    from_a, from_b = a.table.lookup(), b.table.lookup()
    graph.operator(
        f"{base}-left",
        "join side",
        [a.table.draft.name],
        lambda: TableJoinSide(from_b, joiner, left, outer, True, options),
        stores=b.table.lookup_stores(),
    )
    graph.operator(
        f"{base}-right",
        "join side",
        [b.table.draft.name],
        lambda: TableJoinSide(from_a, joiner, outer, left, False, options),
        stores=a.table.lookup_stores(),
    )
    serde = given(value if value is not None else materialized(store).value, returned(joiner))
    return kept_table(
        graph,
        [f"{base}-left", f"{base}-right"],
        base,
        "join",
        a.table.key or b.table.key,
        serde,
        a.sources | b.sources,
        a.stem,
        store,
        a.grace_ms,
    )


def join_by_foreign_key(
    a: KTable[Any, Any],
    b: KTable[Any, Any],
    foreign_key: Any,
    joiner: Any,
    value: Any,
    store: Store,
    name: str | None,
    *,
    left: bool,
) -> KTable[Any, Any]:
    """See `KTable.join_by`."""
    graph = a.graph
    base = graph.name(a.stem, "left-join-by" if left else "join-by", name)
    where = f"join {base!r}"
    key, row = needed(a.table.key, "key", where), needed(a.table.value, "value", where)
    other_key, other_row = needed(b.table.key, "key", where), needed(b.table.value, "value", where)
    a.table.need_lookup()
    a.table.need_olds()
    b.table.need_lookup()
    asked = graph.repartition_topic(f"{base}-subscription", None)
    answered = graph.repartition_topic(f"{base}-response", None)
    graph.copartitioned.append((where, b.sources | {asked}))
    graph.copartitioned.append((where, a.sources | {answered}))
    subscriptions = graph.store(Materialized(f"{base}-subscriptions"), "", "buffer", RAW, RAW).name
    from_a, from_b = a.table.lookup(), b.table.lookup()
    graph.operator(
        f"{base}-subscribe",
        "subscribe",
        [a.table.draft.name],
        lambda: Subscribe(foreign_key, left, key, row, answered),
    )
    graph.add(SinkNode(f"{base}-subscribe-sink", asked, other_key, SubscriptionSerde(), (f"{base}-subscribe",)))
    graph.add(SourceNode(f"{base}-subscribe-source", (asked,), other_key, SubscriptionSerde()))
    graph.operator(
        f"{base}-answer",
        "answer",
        [f"{base}-subscribe-source"],
        lambda: Answer(subscriptions, from_b, other_key, other_row, answered),
        stores=[subscriptions, *b.table.lookup_stores()],
    )
    graph.operator(
        f"{base}-publish",
        "publish",
        [b.table.draft.name],
        lambda: Publish(subscriptions, other_key, other_row, answered),
        stores=[subscriptions],
    )
    graph.add(
        SinkNode(
            f"{base}-response-sink",
            answered,
            RAW,
            ResponseSerde(),
            (f"{base}-answer", f"{base}-publish"),
            # Where the left row lies, however it came to lie there.
            lambda primary_key, response, count: response.partition,
        )
    )
    graph.add(SourceNode(f"{base}-response-source", (answered,), RAW, ResponseSerde()))
    options = TableOptions()
    graph.operator(
        f"{base}-resolve",
        "resolve",
        [f"{base}-response-source"],
        lambda: Resolve(from_a, joiner, left, key, row, other_row, answered, options),
        stores=a.table.lookup_stores(),
    )
    serde = given(value if value is not None else materialized(store).value, returned(joiner))
    return kept_table(graph, [f"{base}-resolve"], base, "join by", key, serde, frozenset({answered}), a.stem, store)
