"""The state of a consumer group: epochs, members, target assignment, and who holds which partition.

Every change is noted as a journal entry, and can be taken back as long as it is not written down:

    ["c", group, group epoch, assignment epoch, digest of the topics]     epochs
    ["cm", group, member]                                                 a member
    ["cx", group, member id]                                              a member is gone
    ["ct", group, {member id: {topic id: [partition, ...]}}]              targets that changed
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ottla.broker.groups.consumer.member import ConsumerMember, IdPartition, by_topic
from ottla.broker.log.journal import Entry

FIRST_EPOCH = 1
"""Of a new group. As in Kafka a member's epoch is thus never 0, which asks to join."""


class State:
    """What is known of a group. Changed only by its own methods, within `change()`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch = FIRST_EPOCH
        self.assignment_epoch = 0
        self.topics_digest = ""
        self.topics_seen = -1  # how many changes of topics the digest knows of; not written down
        self.members: dict[str, ConsumerMember] = {}
        self.static: dict[str, str] = {}  # instance id -> member id
        self.target: dict[str, frozenset[IdPartition]] = {}
        self.holders: dict[IdPartition, str] = {}  # partition -> member id
        self.entries: list[Entry] = []  # of the change under way

    @contextmanager
    def change(self) -> Iterator[None]:
        """Keeps all that is done within, or nothing if an exception leaves it.

        What was noted before (when the group was made of a classic one) is part of the change.
        """
        kept = (self.epoch, self.assignment_epoch, self.topics_digest, self.topics_seen)
        maps = (dict(self.members), dict(self.static), dict(self.target), dict(self.holders))
        noted = list(self.entries)
        try:
            yield
        except BaseException:
            self.epoch, self.assignment_epoch, self.topics_digest, self.topics_seen = kept
            self.members, self.static, self.target, self.holders = maps
            self.entries = noted
            raise
        self.entries = []

    def put(self, member: ConsumerMember) -> None:
        """Adds a member, or puts it in the place of the one with its id."""
        old = self.members.get(member.id)
        if old == member:
            return
        self._release(old)
        self.members[member.id] = member
        if member.instance_id is not None:
            self.static[member.instance_id] = member.id
        for partition in member.held:
            assert self.holders.get(partition) is None, f"{self.name}: {partition} has two owners"
            self.holders[partition] = member.id
        # What is noted of the same member before is void: it takes several steps within one change.
        self.entries = [entry for entry in self.entries if entry[0] != "cm" or entry[2][0] != member.id]
        self.entries.append(["cm", self.name, member.snapshot()])

    def remove(self, member_id: str) -> None:
        member = self.members.pop(member_id)
        self._release(member)
        if member.instance_id is not None and self.static.get(member.instance_id) == member_id:
            del self.static[member.instance_id]
        self.target.pop(member_id, None)
        self.entries.append(["cx", self.name, member_id])

    def aim(self, target: dict[str, frozenset[IdPartition]]) -> None:
        """Sets the targets of these members."""
        changed = {name: parts for name, parts in target.items() if self.target.get(name, frozenset()) != parts}
        self.target.update(target)
        if changed:
            stored = {name: {t.hex(): p for t, p in by_topic(parts).items()} for name, parts in changed.items()}
            self.entries.append(["ct", self.name, stored])

    def set_epochs(self, epoch: int, assignment_epoch: int, topics_digest: str) -> None:
        if (epoch, assignment_epoch, topics_digest) != (self.epoch, self.assignment_epoch, self.topics_digest):
            self.epoch, self.assignment_epoch, self.topics_digest = epoch, assignment_epoch, topics_digest
            self.entries.append(["c", self.name, epoch, assignment_epoch, topics_digest])

    def snapshot(self) -> Iterator[Entry]:
        """The entries that rebuild this state."""
        yield ["c", self.name, self.epoch, self.assignment_epoch, self.topics_digest]
        for member in self.members.values():
            yield ["cm", self.name, member.snapshot()]
        stored = {name: {t.hex(): p for t, p in by_topic(parts).items()} for name, parts in self.target.items()}
        if stored:
            yield ["ct", self.name, stored]

    def replay(self, entry: list[Any]) -> None:
        """Takes one stored entry."""
        kind = entry[0]
        if kind == "c":
            self.epoch, self.assignment_epoch, self.topics_digest = entry[2:5]
        elif kind == "cm":
            # Whoever held a partition before has given it up in an entry of the same change, perhaps in a later one.
            member = ConsumerMember.restore(entry[2])
            self.members[member.id] = member
        elif kind == "cx":
            self.members.pop(entry[2], None)
            self.target.pop(entry[2], None)
        elif kind == "ct":
            for name, topics in entry[2].items():
                self.target[name] = frozenset(
                    (bytes.fromhex(t), index) for t, parts in topics.items() for index in parts
                )

    def replayed(self) -> None:
        """Finds out, after all entries are taken, what follows from them."""
        self.static = {m.instance_id: m.id for m in self.members.values() if m.instance_id is not None}
        self.holders = {partition: m.id for m in self.members.values() for partition in m.held}
        self.entries = []

    def is_held(self, partition: IdPartition) -> bool:
        return partition in self.holders

    def _release(self, member: ConsumerMember | None) -> None:
        for partition in member.held if member is not None else ():
            del self.holders[partition]
