"""How many partitions the topics of a topology have, and whether topics that are joined have the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ottla.errors import TopologyError

if TYPE_CHECKING:
    from ottla.streams.topology.topology import SubTopology, Topology


def partition_counts(topology: Topology, known: Mapping[str, int]) -> dict[str, int]:
    """See `Topology.partition_counts`."""
    return _Counter(topology, known).all()


class _Counter:
    def __init__(self, topology: Topology, known: Mapping[str, int]) -> None:
        self.topology = topology
        self.known = known
        self.counts: dict[str, int] = {}

    def all(self) -> dict[str, int]:
        missing = sorted(
            topic
            for topic in (*self.topology.source_topics, *self.topology.global_topics)
            if topic not in self.known and self.topology.logical(topic) not in self.topology.internal_topics
        )
        if missing:
            raise TopologyError(f"these source topics do not exist: {', '.join(missing)}. Create them first")
        self._repartition_topics()
        self._check_copartitioned()
        found: dict[str, int] = {}
        for topic in self.topology.internal_topics.values():
            if topic.kind == "repartition":
                found[self.topology.physical(topic.name)] = self.counts[topic.name]
        for sub in self.topology.subtopologies:
            tasks = max((self._count(topic) or 0 for topic in sub.source_topics), default=0)
            for store in sub.stores:
                if store.changelog is not None:
                    found[self.topology.physical(store.changelog)] = tasks
        return found

    def _count(self, topic: str) -> int | None:
        if topic in self.topology.internal_topics:
            return self.counts.get(topic)
        return self.known.get(self.topology.physical(topic))

    def _repartition_topics(self) -> None:
        """As many as what is written to them has, unless the user or a join says otherwise; in rounds, because
        repartition topics feed one another."""
        open_ = {t.name: t for t in self.topology.internal_topics.values() if t.kind == "repartition"}
        for name, topic in list(open_.items()):
            if topic.partitions is not None:
                self.counts[name] = topic.partitions
                del open_[name]
        while open_:
            settled = [name for name in open_ if self._settle(name)]
            if not settled:
                raise TopologyError(
                    f"how many partitions {', '.join(sorted(open_))} should have cannot be found out: they only feed "
                    "one another. Say it: repartition(partitions=...)"
                )
            for name in settled:
                del open_[name]

    def _settle(self, name: str) -> bool:
        group = next((group for _, group in self.topology.copartitioned if name in group), frozenset({name}))
        fixed = [count for topic in group if topic != name and (count := self._fixed(topic)) is not None]
        if fixed:
            self.counts[name] = max(fixed)
            return True
        found = 0
        for topic in group:
            if topic in self.topology.internal_topics and topic not in self.counts:
                for writer in self._writers(topic):
                    counts = [self._count(source) for source in writer.source_topics if source != name]
                    if any(count is None for count in counts):
                        return False
                    found = max(found, *(count or 0 for count in counts), 0)
        if not found:
            return False
        self.counts[name] = found
        return True

    def _fixed(self, topic: str) -> int | None:
        """The count of a topic that nobody can change any more."""
        internal = self.topology.internal_topics.get(topic)
        return self.known.get(self.topology.physical(topic)) if internal is None else self.counts.get(topic)

    def _writers(self, topic: str) -> list[SubTopology]:
        return [sub for sub in self.topology.subtopologies if topic in sub.sink_topics]

    def _check_copartitioned(self) -> None:
        for operator, group in self.topology.copartitioned:
            counts = {topic: self._count(topic) for topic in sorted(group)}
            if len(set(counts.values())) > 1:
                listed = ", ".join(f"{self.topology.physical(topic)} has {count}" for topic, count in counts.items())
                raise TopologyError(
                    f"{operator}: the topics on its sides must have the same number of partitions, or records with the "
                    f"same key would not meet: {listed}. Repartition one side (.repartition(partitions=...)), or "
                    "change the topic"
                )
