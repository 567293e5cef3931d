"""A topology while it is being built: operators may still learn what those added later want of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ottla.errors import TopologyError
from ottla.streams.operators.base import Operator
from ottla.streams.serdes import Serde
from ottla.streams.topology.nodes import Node, OperatorNode, SinkNode, SourceNode
from ottla.streams.topology.stores import StoreKind, StoreSpec
from ottla.streams.topology.topics import REPARTITION_CONFIG, InternalTopic, windowed_changelog_config
from ottla.streams.topology.topology import Topology, make_topology
from ottla.streams.windows import milliseconds


@dataclass
class Draft:
    """An operator that is not final yet."""

    name: str
    operation: str
    parents: list[str]
    make: Callable[[], Operator]
    stores: list[str] = field(default_factory=list)
    fields: tuple[str, ...] | None = None
    passes_on: bool = False

    def final(self) -> OperatorNode:
        """As it goes into the topology."""
        return OperatorNode(
            self.name,
            self.operation,
            tuple(self.parents),
            self.make,
            tuple(dict.fromkeys(self.stores)),
            self.fields,
            self.passes_on,
        )


@dataclass(frozen=True, slots=True)
class Materialized:
    """How a table is kept.

    Attributes:
        name: The store's name: what it is asked for by, and what its changelog is called. None: a generated one.
        value: How its values are written, where that does not follow from the topology: a type or a serde.
        persistent: On disk; else in memory.
        logged: Whether it has a changelog, without which its state is lost with the disk.
        cached: Whether changes wait for the next commit and go on as one per key.
        retention_ms: How long windows are kept; at least their size and grace (the default).
        changelog_config: Configuration of the changelog topic.
        ttl: A row that has not changed for so long (by stream time) is deleted, here and further down, at a commit
            soon after: within a tenth of that time where the store has no more than some ten thousand rows. For
            tables made of records, and of aggregated records without windows.
    """

    name: str | None = None
    value: Any = None
    persistent: bool = True
    logged: bool = True
    cached: bool = True
    retention_ms: int | None = None
    changelog_config: Mapping[str, str] = field(default_factory=dict)
    ttl: timedelta | None = None


Store = str | Materialized | None
"""A store's name, or how it is kept in full."""


def materialized(store: Store) -> Materialized:
    """In full."""
    if isinstance(store, Materialized):
        return store
    return Materialized(store)


class Graph:
    """Nodes, stores and topics by name, in the order they were added."""

    def __init__(self) -> None:
        self.nodes: dict[str, Draft | SourceNode | SinkNode] = {}
        self.stores: dict[str, StoreSpec] = {}
        self.topics: dict[str, InternalTopic] = {}
        self.copartitioned: list[tuple[str, frozenset[str]]] = []

    def name(self, stem: str, operation: str, given: str | None = None) -> str:
        """The name of a new operator: the one given, or what it works on and does, with a number from the second on.

        Raises:
            TopologyError: The given name is taken.
        """
        if given is not None:
            if given in self.nodes:
                raise TopologyError(f"two operators are called {given!r}: give one of them another name")
            return given
        base = found = f"{stem}-{operation}"
        number = 1
        while found in self.nodes:
            number += 1
            found = f"{base}-{number}"
        return found

    def add(self, node: Draft | SourceNode | SinkNode) -> None:
        """A new node; its name is free."""
        self.nodes[node.name] = node

    def operator(
        self, name: str, operation: str, parents: list[str], make: Callable[[], Operator], **more: Any
    ) -> Draft:
        """A new operator."""
        draft = Draft(name, operation, parents, make, **more)
        self.add(draft)
        return draft

    def store(
        self,
        kept: Materialized,
        generated: str,
        kind: StoreKind,
        key: Serde[Any],
        value: Serde[Any],
        *,
        retention_ms: int | None = None,
        **more: Any,
    ) -> StoreSpec:
        """A new store.

        Raises:
            TopologyError: Its name is taken, it would forget windows before they close, or its kind knows no ttl.
        """
        name = kept.name or generated
        if name in self.stores:
            raise TopologyError(f"two stores are called {name!r}: give one of them another name")
        config = dict(kept.changelog_config)
        if retention_ms is not None and kind in ("window", "session"):
            if kept.retention_ms is not None and kept.retention_ms < retention_ms:
                raise TopologyError(
                    f"store {name!r}: a retention of {kept.retention_ms} ms is shorter than the windows with their "
                    f"grace, {retention_ms} ms"
                )
            retention_ms = kept.retention_ms or retention_ms
            config = windowed_changelog_config(retention_ms) | config
        spec = StoreSpec(
            name,
            kind,
            key,
            value,
            persistent=kept.persistent,
            logged=kept.logged,
            cached=kept.cached,
            changelog_config=config,
            retention_ms=retention_ms,
            ttl_ms=None if kept.ttl is None else milliseconds(kept.ttl, f"store {name!r}: a ttl", least=1),
            **more,
        )
        if kept.ttl is not None and (kind != "timestamped" or spec.is_global):
            raise TopologyError(
                f"store {name!r}: a ttl is for rows with a time that are kept until deleted; windows, sessions and "
                f"versions have a retention, and a global table is what its topic holds"
            )
        self.stores[name] = spec
        return spec

    def repartition_topic(self, name: str, partitions: int | None) -> str:
        """A new repartition topic; gives its logical name.

        Raises:
            TopologyError: There is one by that name.
        """
        topic = f"{name}-repartition"
        if topic in self.topics:
            raise TopologyError(f"two repartition topics are called {topic!r}: give one of the operators another name")
        self.topics[topic] = InternalTopic(topic, "repartition", partitions, dict(REPARTITION_CONFIG))
        return topic

    def build(self) -> Topology:
        """The finished topology."""
        nodes: list[Node] = [node.final() if isinstance(node, Draft) else node for node in self.nodes.values()]
        used = {name for node in nodes for name in node.stores}
        for name in self.stores:
            if name not in used:
                raise TopologyError(f"store {name!r} is connected to no operator: name it in stores=[...]")
        return make_topology(nodes, self.stores.values(), self.topics.values(), self.copartitioned)


def needed(serde: Serde[Any] | None, what: str, where: str) -> Serde[Any]:
    """A serde that has to be known.

    Raises:
        TopologyError: It is not.
    """
    if serde is None:
        raise TopologyError(
            f"{where}: how are the {what}s written? Their type cannot be told from a lambda. Name it at the operator "
            f"that makes them ({what}=SomeType), or give its function a return annotation"
        )
    return serde
