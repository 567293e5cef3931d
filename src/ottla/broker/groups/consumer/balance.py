"""Sharing partitions out among members whose subscriptions differ: as evenly as they allow, moving as few as possible.

Everybody keeps what is still its own; what is nobody's goes to whoever has least of those that may have it; then
partitions move, along chains of members if need be, from who has most to who has at least two fewer, until there is no
such chain.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from ottla.broker.groups.consumer.member import IdPartition

Wishes = Mapping[str, tuple[frozenset[bytes], frozenset[IdPartition]]]


def balance(members: Wishes, counts: Mapping[bytes, int]) -> dict[str, frozenset[IdPartition]]:
    """Who reads what.

    Args:
        members: By id: the topics a member subscribes to, and what it is to have at present.
        counts: The number of partitions of each topic.
    """
    readers = {topic: [name for name, (topics, _) in members.items() if topic in topics] for topic in counts}
    has = _kept(members, counts)
    taken = {partition for partitions in has.values() for partition in partitions}
    # Topics that few may read come first: their readers are then seen to be full when the others are shared out.
    for topic in sorted(counts, key=lambda topic: len(readers[topic])):
        for index in range(counts[topic]):
            if (topic, index) not in taken and readers[topic]:
                least = min(readers[topic], key=lambda name: len(has[name]))
                has[least].add((topic, index))
    while _improve(has, readers):
        pass
    return {name: frozenset(partitions) for name, partitions in has.items()}


def _kept(members: Wishes, counts: Mapping[bytes, int]) -> dict[str, set[IdPartition]]:
    """What everybody has and may keep. A partition that two would keep (it never should) stays with the first."""
    taken: set[IdPartition] = set()
    has: dict[str, set[IdPartition]] = {}
    for name, (topics, target) in members.items():
        keeps = {part for part in target if part[0] in topics and part[1] < counts.get(part[0], 0)} - taken
        taken |= keeps
        has[name] = keeps
    return has


def _improve(has: dict[str, set[IdPartition]], readers: Mapping[bytes, list[str]]) -> bool:
    """Makes the shares more even by one partition; says whether it could."""
    for start in sorted(has, key=lambda name: -len(has[name])):
        path = _path(start, has, readers)
        if path:
            for giver, partition, taker in path:
                has[giver].remove(partition)
                has[taker].add(partition)
            return True
    return False


Step = tuple[str, IdPartition, str]


def _path(start: str, has: Mapping[str, set[IdPartition]], readers: Mapping[bytes, list[str]]) -> list[Step]:
    """Who passes which partition to whom, so that in the end `start` has one fewer and one that has few one more.

    The shortest such chain, breadth first: where subscriptions overlap in part only, a direct move may not exist.
    """
    came: dict[str, Step | None] = {start: None}
    seen: set[bytes] = set()
    queue = deque([start])
    while queue:
        giver = queue.popleft()
        if len(has[giver]) + 2 <= len(has[start]):
            return _walked(giver, came)
        for partition in sorted(has[giver]):
            if partition[0] in seen:
                continue
            seen.add(partition[0])
            for taker in readers[partition[0]]:
                if taker not in came:
                    came[taker] = (giver, partition, taker)
                    queue.append(taker)
    return []


def _walked(end: str, came: Mapping[str, Step | None]) -> list[Step]:
    steps: list[Step] = []
    step = came[end]
    while step is not None:
        steps.append(step)
        step = came[step[0]]
    return steps
