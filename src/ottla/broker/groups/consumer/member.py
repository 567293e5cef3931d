"""One member of a consumer group (KIP-848): what it subscribes to, and what it owns.

Members are values: a change makes a new one, so that a change that cannot be written down is undone by keeping the old.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

IdPartition = tuple[bytes, int]
"""A topic's id and a partition's number."""

STABLE = "STABLE"
UNREVOKED = "UNREVOKED_PARTITIONS"
UNRELEASED = "UNRELEASED_PARTITIONS"

LEFT_STATIC_EPOCH = -2
"""The epoch of a static member that went away and may come back."""


@dataclass(frozen=True)
class Heartbeat:
    """A ConsumerGroupHeartbeat request; None is what did not change since the last one.

    Attributes:
        owned: The partitions that the member owns.
        rebalance_timeout_ms: -1 is what did not change.
        may_see: Whether a topic may be known to exist, which decides what a pattern matches; None: all may.
    """

    member_id: str
    epoch: int
    instance_id: str | None = None
    rack_id: str | None = None
    rebalance_timeout_ms: int = -1
    topics: tuple[str, ...] | None = None
    regex: str | None = None
    assignor: str | None = None
    owned: frozenset[IdPartition] | None = None
    client_id: str = ""
    client_host: str = ""
    may_see: Callable[[str], bool] | None = None

    @property
    def is_full(self) -> bool:
        """Whether it says everything, as on joining and after errors: then the answer says everything, too."""
        told = self.rebalance_timeout_ms != -1 and self.owned is not None
        return self.epoch == 0 or (told and (self.topics is not None or self.regex is not None))


@dataclass(frozen=True)
class ClassicSide:
    """What a member that speaks the classic protocol has in addition: its session, and its assignors' metadata."""

    session_timeout_ms: int
    protocols: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class ConsumerMember:
    """A member.

    Attributes:
        topics: Subscribed names, sorted.
        regex: Subscribed pattern; empty is none.
        epoch: The member epoch: the group epoch whose assignment it follows; -2 for a static member that is away.
        state: STABLE, UNREVOKED (has to give partitions back first) or UNRELEASED (others have to).
        assigned: Partitions it may read, each with the epoch at which it got it.
        revoking: Partitions it was told to give back, and has not yet.
    """

    id: str
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    rebalance_timeout_ms: int = -1
    topics: tuple[str, ...] = ()
    regex: str = ""
    assignor: str | None = None
    epoch: int = 0
    previous_epoch: int = 0
    state: str = STABLE
    assigned: Mapping[IdPartition, int] = field(default_factory=dict)
    revoking: Mapping[IdPartition, int] = field(default_factory=dict)
    classic: ClassicSide | None = None

    def told(self, beat: Heartbeat) -> ConsumerMember:
        """The member with what a heartbeat says; itself if that is nothing new."""
        topics = self.topics if beat.topics is None else tuple(sorted(set(beat.topics)))
        timeout = self.rebalance_timeout_ms if beat.rebalance_timeout_ms == -1 else beat.rebalance_timeout_ms
        changed = replace(
            self,
            instance_id=self.instance_id if beat.instance_id is None else beat.instance_id,
            rack_id=self.rack_id if beat.rack_id is None else beat.rack_id,
            client_id=beat.client_id,
            client_host=beat.client_host,
            rebalance_timeout_ms=timeout,
            topics=topics,
            regex=self.regex if beat.regex is None else beat.regex,
            assignor=self.assignor if beat.assignor is None else beat.assignor,
            classic=None,
        )
        return self if changed == self else changed

    def moved(
        self,
        epoch: int,
        state: str,
        assigned: Mapping[IdPartition, int],
        revoking: Mapping[IdPartition, int] | None = None,
    ) -> ConsumerMember:
        """The member in a new state; the epoch it leaves is remembered."""
        previous = self.epoch if epoch != self.epoch else self.previous_epoch
        return replace(
            self, epoch=epoch, previous_epoch=previous, state=state, assigned=assigned, revoking=revoking or {}
        )

    def is_at(self, target_epoch: int) -> bool:
        """Whether it follows the target assignment of that epoch in full."""
        return self.state == STABLE and self.epoch == target_epoch

    @property
    def held(self) -> set[IdPartition]:
        """All that nobody else may read: assigned, or not given back yet."""
        return {*self.assigned, *self.revoking}

    def snapshot(self) -> list[Any]:
        """As JSON; bytes as latin-1 text, ids of topics as hex."""
        classic = None
        if self.classic is not None:
            protocols = [[name, data.decode("latin-1")] for name, data in self.classic.protocols]
            classic = [self.classic.session_timeout_ms, protocols]
        who: list[Any] = [self.id, self.instance_id, self.rack_id, self.client_id, self.client_host]
        wants = [self.rebalance_timeout_ms, self.topics, self.regex, self.assignor]
        place = [self.epoch, self.previous_epoch, self.state, packed(self.assigned), packed(self.revoking)]
        return [*who, *wants, *place, classic]

    @classmethod
    def restore(cls, stored: list[Any]) -> ConsumerMember:
        classic = None
        if stored[14] is not None:
            session_ms, protocols = stored[14]
            classic = ClassicSide(session_ms, tuple((name, data.encode("latin-1")) for name, data in protocols))
        values: list[Any] = [*stored[:12], unpacked(stored[12]), unpacked(stored[13]), classic]
        values[6] = tuple(values[6])
        return cls(*values)


def packed(partitions: Mapping[IdPartition, int]) -> dict[str, list[list[int]]]:
    """Partitions with their epochs as JSON: by topic id, [partition, epoch] each."""
    found: dict[str, list[list[int]]] = {}
    for (topic_id, index), epoch in partitions.items():
        found.setdefault(topic_id.hex(), []).append([index, epoch])
    return found


def unpacked(stored: dict[str, list[list[int]]]) -> dict[IdPartition, int]:
    return {(bytes.fromhex(topic), index): epoch for topic, pairs in stored.items() for index, epoch in pairs}


def by_topic(partitions: Iterable[IdPartition]) -> dict[bytes, list[int]]:
    """Partitions by topic, in order, as the protocol's messages have them."""
    found: dict[bytes, list[int]] = {}
    for topic_id, index in sorted(partitions):
        found.setdefault(topic_id, []).append(index)
    return found
