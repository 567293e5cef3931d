"""Kafka's server-side assignors: who is to read what. Pure functions of subscriptions and of what is assigned now.

`range` gives each member a range of each topic, in the order of instance ids, then of member ids: co-partitioned topics
go together. `uniform` gives everybody the same number of partitions (give or take one), and moves as few as it can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ottla.broker.groups.consumer.balance import balance
from ottla.broker.groups.consumer.member import IdPartition

Assignment = dict[str, frozenset[IdPartition]]


@dataclass(frozen=True)
class Subscriber:
    """A member as assignors see it.

    Attributes:
        topics: The ids of the topics it subscribes to; only those that exist.
        target: What it is to have at present.
    """

    id: str
    instance_id: str | None
    topics: frozenset[bytes]
    target: frozenset[IdPartition]


Assignor = Callable[[list[Subscriber], Mapping[bytes, int]], Assignment]


def assign_ranges(members: list[Subscriber], counts: Mapping[bytes, int]) -> Assignment:
    """The `range` assignor. `counts` are the numbers of partitions by topic id."""
    # Static members first, by instance id, so that their ranges outlive a restart, which gives them new member ids.
    ordered = sorted(members, key=lambda m: (m.instance_id is None, m.instance_id or m.id))
    assigned: dict[str, set[IdPartition]] = {member.id: set() for member in members}
    for topic, count in counts.items():
        readers = [member for member in ordered if topic in member.topics]
        start = 0
        for number, member in enumerate(readers):
            stop = start + count // len(readers) + (number < count % len(readers))
            assigned[member.id].update((topic, index) for index in range(start, stop))
            start = stop
    return {member_id: frozenset(partitions) for member_id, partitions in assigned.items()}


def assign_uniformly(members: list[Subscriber], counts: Mapping[bytes, int]) -> Assignment:
    """The `uniform` assignor. `counts` are the numbers of partitions by topic id."""
    if not members:
        return {}
    if any(member.topics != members[0].topics for member in members):
        return balance({member.id: (member.topics, member.target) for member in members}, counts)
    return _share_out(members, counts)


def _share_out(members: list[Subscriber], counts: Mapping[bytes, int]) -> Assignment:
    """The case of one subscription for all: everybody keeps up to a quota, the rest fills up who has less."""
    everything = {(topic, index) for topic in members[0].topics for index in range(counts[topic])}
    quota, extra = divmod(len(everything), len(members))
    kept: dict[str, list[IdPartition]] = {}
    room: dict[str, int] = {}
    # Who has most keeps the odd partitions: that moves the fewest.
    for member in sorted(members, key=lambda m: -len(m.target)):
        allowed = quota + (extra > 0)
        extra -= extra > 0
        kept[member.id] = sorted(member.target & everything)[:allowed]
        room[member.id] = allowed - len(kept[member.id])
    left = sorted(everything.difference(*kept.values()))
    for member in members:
        cut = len(left) - room[member.id]
        kept[member.id] += left[cut:]
        del left[cut:]
    return {member_id: frozenset(partitions) for member_id, partitions in kept.items()}


ASSIGNORS: dict[str, Assignor] = {"uniform": assign_uniformly, "range": assign_ranges}
