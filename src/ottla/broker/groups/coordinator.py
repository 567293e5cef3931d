"""All groups and their committed offsets, kept in a journal.

Journal records:
    ["o", group, topic, partition, offset, leader epoch, metadata, ms]   a committed offset
    ["x", group, topic, partition]                                       an offset deleted
    ["g", group, {generation, members, ...}]                             a generation
    ["d", group]                                                         a group deleted
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ottla.broker.config import BrokerConfig
from ottla.broker.groups.group import DEAD, EMPTY, Clock, Group
from ottla.broker.log.flusher import Syncable
from ottla.broker.log.journal import Entry, Journal
from ottla.broker.log.recovery import now_ms
from ottla.broker.wire.errors import ErrorCode

Partition = tuple[str, int]
Callback = Callable[[], None]


class Committed(NamedTuple):
    offset: int
    leader_epoch: int
    metadata: str
    timestamp: int  # ms since the epoch


class Coordinator:
    """Groups by name, and what each has committed."""

    def __init__(
        self, config: BrokerConfig, folder: Path, clock: Clock, durable: Callable[[Syncable, Callback], None]
    ) -> None:
        self.config = config
        self.groups: dict[str, Group] = {}
        self.offsets: dict[str, dict[Partition, Committed]] = {}
        self._clock = clock
        self._durable = durable
        self.journal = Journal(folder / "groups.journal", self._replay, self._snapshot)
        for group in self.groups.values():
            group.resume()

    def group(self, name: str) -> Group:
        """The group of that name, made if there is none."""
        group = self.groups.get(name)
        if group is None:
            delay_ms = self.config.group_initial_rebalance_delay_ms
            group = self.groups[name] = Group(name, self._clock, self._store_group, delay_ms)
        return group

    def commit(self, name: str, offsets: dict[Partition, Committed], done: Callback) -> None:
        """Stores offsets, then calls `done` when they are durable. Raises OSError; then nothing is stored."""
        self.journal.append(*(["o", name, *partition, *committed] for partition, committed in offsets.items()))
        self.group(name)
        self.offsets.setdefault(name, {}).update(offsets)
        self._durable(self.journal, done)

    def delete_offsets(self, name: str, partitions: Iterable[Partition], done: Callback) -> None:
        stored = self.offsets.get(name, {})
        gone = [partition for partition in partitions if partition in stored]
        self.journal.append(*(["x", name, *partition] for partition in gone))
        for partition in gone:
            del stored[partition]
        self._durable(self.journal, done)

    def delete_group(self, name: str) -> ErrorCode:
        """Deletes an empty group with its offsets. The caller flushes the journal before it answers."""
        group = self.groups.get(name)
        if group is None:
            return ErrorCode.GROUP_ID_NOT_FOUND
        if group.state != EMPTY:
            return ErrorCode.NON_EMPTY_GROUP
        self.journal.append(["d", name])
        group.state = DEAD
        del self.groups[name]
        self.offsets.pop(name, None)
        return ErrorCode.NONE

    def topic_deleted(self, topic: str) -> None:
        """Forgets what was committed for a topic that is gone; a new one of that name starts afresh."""
        for name, stored in self.offsets.items():
            gone = [partition for partition in stored if partition[0] == topic]
            self.journal.append(*(["x", name, *partition] for partition in gone))
            for partition in gone:
                del stored[partition]

    def expire_offsets(self) -> None:
        """Forgets offsets of groups that have been empty, and have not committed, for longer than they are kept."""
        keep_ms = self.config.offsets_retention_ms
        limit = now_ms() - keep_ms
        for name, group in list(self.groups.items()):
            if group.state != EMPTY or self._clock.now() - group.empty_since < keep_ms / 1000:
                continue
            stored = self.offsets.get(name, {})
            if all(committed.timestamp < limit for committed in stored.values()):
                self.delete_group(name)

    def flush(self, done: Callback) -> None:
        self._durable(self.journal, done)

    def _store_group(self, group: Group, done: Callback) -> None:
        self.journal.append(["g", group.name, group.snapshot()])
        self._durable(self.journal, done)

    def _replay(self, entry: Entry) -> None:
        kind, name = entry[0], entry[1]
        if kind == "o":
            self.group(name)
            self.offsets.setdefault(name, {})[entry[2], entry[3]] = Committed(*entry[4:8])
        elif kind == "x":
            self.offsets.get(name, {}).pop((entry[2], entry[3]), None)
        elif kind == "g":
            self.group(name).restore(entry[2])
        elif kind == "d":
            self.groups.pop(name, None)
            self.offsets.pop(name, None)

    def _snapshot(self) -> Iterator[Entry]:
        for name, group in self.groups.items():
            yield ["g", name, group.snapshot()]
        for name, stored in self.offsets.items():
            for partition, committed in stored.items():
                yield ["o", name, *partition, *committed]
