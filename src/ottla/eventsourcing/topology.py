"""An aggregate as part of a topology: command topic -> decisions -> event topic."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ottla.eventsourcing.aggregate import Aggregate
from ottla.eventsourcing.answers import ANSWER
from ottla.eventsourcing.decisions import Decisions
from ottla.eventsourcing.event_log import EventLog
from ottla.eventsourcing.states import SNAPSHOT, store_names
from ottla.streams.builder import StreamsBuilder
from ottla.streams.dsl.stream import KStream
from ottla.streams.event_serde import EventSerde
from ottla.streams.serdes import RAW, TEXT
from ottla.streams.topology.nodes import SinkNode


def add_aggregate(
    builder: StreamsBuilder,
    aggregate: Aggregate[Any],
    event_log: EventLog | None = None,
    outcomes: Counter[str] | None = None,
) -> None:
    """Adds an aggregate to a topology.

    Args:
        event_log: The cluster; None where there is none, in a test driver.
        outcomes: Where commands are counted.

    Raises:
        EventDefinitionError: Its commands or its events are on no topic, or on several.
        TopologyError: A name of its stores or operators is taken.
    """
    topic, name = aggregate.event_topic, aggregate.name
    aggregate.command_topic  # noqa: B018  what is wrong with it is told now
    stores = list(store_names(aggregate) if aggregate.snapshot_every > 1 else store_names(aggregate)[:2])
    builder.add_store(stores[0], key=TEXT, value=SNAPSHOT)
    builder.add_store(stores[1], key=TEXT, value=ANSWER, kind="window", retention=aggregate.remember)
    if len(stores) > 2:
        builder.add_store(stores[2], key=TEXT, value=EventSerde(*aggregate.events))
    commands: KStream[str, Any] = builder.stream(*aggregate.commands, name=f"{name}-commands")
    graph = commands.graph
    decide = graph.name(name, "decide")
    counted = Counter[str]() if outcomes is None else outcomes
    graph.operator(decide, "decide", [commands.node], lambda: Decisions(aggregate, event_log, counted), stores=stores)
    # Encoded before anything is written: an event that does not fit its schema is its command's fault.
    graph.add(SinkNode(graph.name(name, "events"), topic, TEXT, RAW, (decide,), keys_as_read=False))
