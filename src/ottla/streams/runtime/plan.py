"""Which tasks a topology has on a cluster, what each reads, and under which number the group hands it out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ottla.streams.task import TaskId
from ottla.streams.topology.stores import StoreSpec
from ottla.streams.topology.topology import Topology

Place = tuple[str, int]


@dataclass(frozen=True)
class Plan:
    """The tasks of an application.

    Attributes:
        topology: `named`.
        partitions: Of every topic it reads or keeps, by physical name.
        tasks: Every task, at the position of its token; those that this topology does not have any more are None.
    """

    topology: Topology
    partitions: Mapping[str, int]
    tasks: tuple[TaskId | None, ...]

    @property
    def tokens_topic(self) -> str:
        """The topic whose partitions stand for tasks."""
        return f"{self.topology.application_id}-tasks"

    def task_of(self, token: int) -> TaskId | None:
        """The task that a partition of the tokens' topic stands for; None: this topology does not have it."""
        return self.tasks[token] if token < len(self.tasks) else None

    def token_of(self, task: TaskId) -> int:
        """The other way round."""
        return self.tasks.index(task)

    def sources(self, task: TaskId) -> list[Place]:
        """The partitions a task reads, in the order of its sources."""
        sub = self.topology.subtopologies[task.subtopology]
        topics = [self.topology.physical(topic) for topic in sub.source_topics]
        return [(topic, task.partition) for topic in topics if task.partition < self.partitions[topic]]

    def stores(self, task: TaskId) -> list[StoreSpec]:
        """The stores a task has for itself."""
        return [spec for spec in self.topology.subtopologies[task.subtopology].stores if not spec.is_global]

    def changelog(self, task: TaskId, spec: StoreSpec) -> Place | None:
        """The changelog partition of a task's store; None if it has none."""
        return None if spec.changelog is None else (self.topology.physical(spec.changelog), task.partition)


def tasks_of(topology: Topology, partitions: Mapping[str, int]) -> list[TaskId]:
    """One for each sub-topology and partition number of any of its topics; without global stores, which every
    instance fills for itself.

    By partition first: neighbours go to a new instance together, and so each gets tasks of every sub-topology.
    """
    found = []
    for sub in topology.subtopologies:
        if not sub.is_global:
            counts = (partitions[topology.physical(topic)] for topic in sub.source_topics)
            found += [TaskId(sub.index, partition) for partition in range(max(counts, default=0))]
    return sorted(found, key=lambda task: (task.partition, task.subtopology))


def numbered(known: Iterable[str], wanted: Iterable[TaskId]) -> list[str]:
    """The names of all tasks in the order of their tokens: those that have a number keep it, new ones go to the end.

    While a new version of an application is rolled out, old and new instances are in one group: a number that changed
    its meaning would give one task to two of them.
    """
    names = list(known)
    return names + [str(task) for task in wanted if str(task) not in names]
