"""A topology: immutable once built. The runtime asks it what to subscribe to, which tasks there are, what they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ottla.errors import TopologyError
from ottla.streams.topology.nodes import Node, SinkNode, SourceNode
from ottla.streams.topology.stores import StoreSpec
from ottla.streams.topology.topics import CHANGELOG_CONFIG, InternalTopic

GLOBAL_TABLE = "global table"
"""The operation of the node that fills a global store."""


@dataclass(frozen=True)
class SubTopology:
    """Nodes that hang together: they run in one task per partition.

    Attributes:
        index: Its number, the first part of a task's id.
        nodes: In topological order.
        stores: Of all its nodes.
        is_global: Fills global stores: one task on every instance reads all partitions.
    """

    index: int
    nodes: tuple[Node, ...]
    stores: tuple[StoreSpec, ...]
    is_global: bool = False

    @cached_property
    def sources(self) -> tuple[SourceNode, ...]:
        return tuple(node for node in self.nodes if isinstance(node, SourceNode))

    @cached_property
    def sinks(self) -> tuple[SinkNode, ...]:
        return tuple(node for node in self.nodes if isinstance(node, SinkNode))

    @cached_property
    def source_topics(self) -> tuple[str, ...]:
        """Logical names, in the order of the sources."""
        return tuple(dict.fromkeys(topic for source in self.sources for topic in source.topics))

    @cached_property
    def sink_topics(self) -> tuple[str, ...]:
        """Logical names of the topics that are fixed."""
        return tuple(dict.fromkeys(sink.topic for sink in self.sinks if isinstance(sink.topic, str)))

    def children(self, name: str) -> list[Node]:
        """The nodes that take records from a node, in the order they were added."""
        return [node for node in self.nodes if name in node.parents]

    def reachable(self, name: str) -> list[tuple[Node, int]]:
        """The nodes downstream of a node, and by how many paths each is reached."""
        counts: dict[str, int] = {name: 1}
        for node in self.nodes:
            paths = sum(counts.get(parent, 0) for parent in node.parents)
            if paths:
                counts[node.name] = counts.get(node.name, 0) + paths
        return [(node, counts[node.name]) for node in self.nodes if node.name in counts and node.name != name]


@dataclass(frozen=True)
class Topology:
    """What a stream application does.

    Attributes:
        application_id: The application's name; empty until `named`. Internal topics carry it in front.
        prefix: What stands before the names of all other topics in the cluster (`kafka.prefix`).
        subtopologies: In the order of their numbers; those of global stores stand last.
        internal_topics: Repartition topics and changelogs by their logical names.
        copartitioned: Groups of logical source topics whose partition counts must be the same, each with the operator
            that wants it.
    """

    subtopologies: tuple[SubTopology, ...]
    internal_topics: Mapping[str, InternalTopic]
    copartitioned: tuple[tuple[str, frozenset[str]], ...] = ()
    application_id: str = ""
    prefix: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

    def named(self, application_id: str, *, prefix: str = "") -> Topology:
        """The same topology under an application's name, on a cluster where topics have a prefix."""
        return replace(self, application_id=application_id, prefix=prefix)

    def physical(self, topic: str) -> str:
        """A logical topic's name in Kafka."""
        if topic in self.internal_topics:
            return f"{self.application_id}-{topic}"
        return topic if topic.startswith(self.prefix) else self.prefix + topic

    def logical(self, topic: str) -> str:
        """The other way round."""
        own = topic.removeprefix(f"{self.application_id}-")
        return own if own in self.internal_topics else topic.removeprefix(self.prefix)

    @cached_property
    def stores(self) -> dict[str, StoreSpec]:
        """Every store by its name."""
        return {store.name: store for sub in self.subtopologies for store in sub.stores}

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Every node by its name."""
        return {node.name: node for sub in self.subtopologies for node in sub.nodes}

    @property
    def source_topics(self) -> tuple[str, ...]:
        """What the group subscribes to, as physical names: the sources of all tasks, without global stores."""
        subs = (sub for sub in self.subtopologies if not sub.is_global)
        return tuple(dict.fromkeys(self.physical(topic) for sub in subs for topic in sub.source_topics))

    @property
    def global_topics(self) -> tuple[str, ...]:
        """The topics global stores are filled from."""
        subs = (sub for sub in self.subtopologies if sub.is_global)
        return tuple(dict.fromkeys(self.physical(topic) for sub in subs for topic in sub.source_topics))

    def subtopology_of(self, topic: str) -> SubTopology:
        """The sub-topology that reads a physical topic.

        Raises:
            TopologyError: None does.
        """
        logical = self.logical(topic)
        for sub in self.subtopologies:
            if logical in sub.source_topics:
                return sub
        raise TopologyError(f"no operator of this topology reads topic {topic}")

    def partition_counts(self, known: Mapping[str, int]) -> dict[str, int]:
        """How many partitions each internal topic must have, by its physical name.

        Args:
            known: Partitions of the topics that exist already, by their physical names: all source topics that are not
                internal, and internal ones from an earlier start.

        Raises:
            TopologyError: A source topic does not exist, or topics that are joined have different counts.
        """
        from ottla.streams.topology.partitions import partition_counts

        return partition_counts(self, known)

    def describe(self) -> str:
        """The topology as text."""
        from ottla.streams.topology.describe import describe

        return describe(self)

    def mermaid(self) -> str:
        """The topology as a Mermaid flowchart."""
        from ottla.streams.topology.describe import mermaid

        return mermaid(self)

    @property
    def fingerprint(self) -> dict[str, object]:
        """What must not change between two starts without a reset, as plain JSON data; see `compare`."""
        from ottla.streams.topology.fingerprint import fingerprint

        return fingerprint(self)


def make_topology(
    nodes: Sequence[Node],
    stores: Iterable[StoreSpec],
    internal_topics: Iterable[InternalTopic] = (),
    copartitioned: Iterable[tuple[str, frozenset[str]]] = (),
) -> Topology:
    """Finds out what hangs together, and numbers it in the order of the first node of each part.

    Raises:
        TopologyError: A name is used twice, or a parent or store is not there.
    """
    specs = {store.name: store for store in stores}
    by_name: dict[str, Node] = {}
    for node in nodes:
        if node.name in by_name:
            raise TopologyError(f"two operators are called {node.name!r}: give one of them another name")
        for parent in node.parents:
            if parent not in by_name:
                raise TopologyError(f"operator {node.name!r}: there is no operator {parent!r} before it")
        for store in node.stores:
            if store not in specs:
                raise TopologyError(f"operator {node.name!r}: there is no store {store!r}")
        by_name[node.name] = node
    parts = _parts(nodes, specs)
    subs = [
        SubTopology(
            index,
            tuple(part),
            tuple(specs[name] for name in dict.fromkeys(name for node in part for name in node.stores)),
            _fills_global(part),
        )
        for index, part in enumerate(parts)
    ]
    logs = [
        InternalTopic(
            store.changelog, "changelog", config={**CHANGELOG_CONFIG, **store.changelog_config}, store=store.name
        )
        for sub in subs
        for store in sub.stores
        if store.changelog is not None
    ]
    topics = {topic.name: topic for topic in (*internal_topics, *logs)}
    return Topology(tuple(subs), topics, tuple(copartitioned))


def _fills_global(part: Sequence[Node]) -> bool:
    return any(node.operation == GLOBAL_TABLE for node in part)


def _parts(nodes: Sequence[Node], specs: Mapping[str, StoreSpec]) -> list[list[Node]]:
    """Connected components: by parents, by shared stores (not global ones), by topics that two sources read.

    Global ones stand last, so that adding one renumbers no other.
    """
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    for node in nodes:
        links = [f"node {parent}" for parent in node.parents]
        links += [f"store {store}" for store in node.stores if not specs[store].is_global]
        if isinstance(node, SourceNode):
            links += [f"topic {topic}" for topic in node.topics]
        for link in links:
            leader[find(link)] = find(f"node {node.name}")
    parts: dict[str, list[Node]] = {}
    for node in nodes:
        parts.setdefault(find(f"node {node.name}"), []).append(node)
    return sorted(parts.values(), key=_fills_global)
