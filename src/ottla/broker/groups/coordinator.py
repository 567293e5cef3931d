"""All groups and their committed offsets, kept in a journal.

Journal records:
    ["o", group, topic, partition, offset, leader epoch, metadata, ms]   a committed offset
    ["x", group, topic, partition]                                       an offset deleted
    ["g", group, {generation, members, ...}]                             a generation of a classic group
    ["c", ...], ["cm", ...], ["cx", ...], ["ct", ...]                    a consumer group: see consumer/state.py
    ["s", group, {name: value}]                                          settings of a group
    ["d", group]                                                         a group deleted
    ["b", group, [entries]]                                              entries that count together or not at all
and those of offsets that transactions hold back: see `pending`.
A record of one kind of group, where there is a group of the other, says that the group has changed its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ottla.broker.config import BrokerConfig
from ottla.broker.groups import group_configs, pending
from ottla.broker.groups.clock import Clock
from ottla.broker.groups.committer import Check, Committer
from ottla.broker.groups.consumer.group import ConsumerGroup, Limits
from ottla.broker.groups.consumer.subscriptions import Topics
from ottla.broker.groups.consumer_protocol import PROTOCOL_TYPE
from ottla.broker.groups.group import EMPTY, STABLE, Group
from ottla.broker.groups.refusal import Refused
from ottla.broker.groups.requests import GroupRequests
from ottla.broker.log.flusher import Syncable
from ottla.broker.log.journal import Entry, Journal
from ottla.broker.log.recovery import now_ms
from ottla.broker.wire.errors import ErrorCode

Partition = tuple[str, int]
Callback = Callable[[], None]
COMMITS_KNOW_EPOCHS_SINCE = 9  # version of OffsetCommit


class Committed(NamedTuple):
    offset: int
    leader_epoch: int
    metadata: str
    timestamp: int  # ms since the epoch


class Coordinator:
    """Groups by name, and what each has committed."""

    def __init__(
        self,
        config: BrokerConfig,
        folder: Path,
        clock: Clock,
        durable: Callable[[Syncable, Callback], None],
        topics: Topics,
    ) -> None:
        self.config = config
        self.groups: dict[str, Group | ConsumerGroup] = {}
        self.offsets: dict[str, dict[Partition, Committed]] = {}
        self.pending: pending.PendingOffsets[Committed] = pending.PendingOffsets()
        self.settings: dict[str, dict[str, str]] = {}  # of single groups
        self.topics = topics
        self._clock = clock
        self._durable = durable
        self.requests = GroupRequests(self)
        self.journal = Journal(folder / "groups.journal", self._replay, self._snapshot)
        for group in self.groups.values():
            if isinstance(group, ConsumerGroup):
                group.state_of.replayed()
                self.requests.resume(group)
            else:
                group.resume()

    def new_classic(self, name: str) -> Group:
        """A new group of the classic protocol, not yet among the groups."""
        config = self.config
        return Group(
            name, self._clock, self.store_classic, config.group_initial_rebalance_delay_ms, config.group_max_size
        )

    def new_consumer(self, name: str) -> ConsumerGroup:
        """A new group of the new protocol, not yet among the groups."""

        def limits() -> Limits:
            return group_configs.limits(self.config, self.settings.get(name, {}))

        return ConsumerGroup(name, self._clock, self.topics, limits, self._store)

    def check_commit(self, name: str, commit: Committer) -> Check:
        """Whether offsets may be committed to a group, as a check per partition. The commit may make the group.

        Raises:
            Refused: Nothing may be committed.
        """
        group = self.groups.get(name)
        if group is not None:
            return group.check_commit(commit)
        if commit.epoch < 0:
            return lambda _: None
        if commit.transactional or commit.version < COMMITS_KNOW_EPOCHS_SINCE:
            raise Refused(ErrorCode.ILLEGAL_GENERATION)
        raise Refused(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {name} not found.")

    def commit(self, name: str, offsets: dict[Partition, Committed], done: Callback) -> None:
        """Stores offsets, then calls `done` when they are durable. Raises OSError; then nothing is stored."""
        self.journal.append(*(["o", name, *partition, *committed] for partition, committed in offsets.items()))
        self.ensure(name)
        self.offsets.setdefault(name, {}).update(offsets)
        self.pending.superseded(name, offsets)
        self._durable(self.journal, done)

    # Transactions

    def hold(
        self, name: str, producer_id: int, epoch: int, offsets: dict[Partition, Committed], done: Callback
    ) -> None:
        """Holds offsets back until the producer's transaction ends; calls `done` when that is durable.

        Raises:
            OSError: Nothing is held.
        """
        self.journal.append(*(pending.entry(name, producer_id, epoch, *one) for one in offsets.items()))
        self.ensure(name)
        self.pending.hold(name, producer_id, epoch, dict(offsets))
        self._durable(self.journal, done)

    def finish(self, name: str, producer_id: int, *, committed: bool) -> None:
        """The end of a transaction: what it held back is stored or forgotten. The caller flushes the journal.

        Raises:
            OSError: All is as before.
        """
        self.journal.append(["m", name, producer_id, committed])
        self._finish(name, producer_id, committed)

    def _finish(self, name: str, producer_id: int, committed: bool) -> None:
        offsets = self.pending.finish(name, producer_id)
        if committed and offsets:
            self.ensure(name)
            self.offsets.setdefault(name, {}).update(offsets)

    def ensure(self, name: str) -> None:
        """Makes the group if there is none: a simple one, that holds offsets only."""
        if name not in self.groups:
            self.groups[name] = self.new_classic(name)

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
        self._forget(name)
        return ErrorCode.NONE

    def topic_deleted(self, topic: str) -> None:
        """Forgets what was committed for a topic that is gone; a new one of that name starts afresh."""
        for name, stored in self.offsets.items():
            gone = [partition for partition in stored if partition[0] == topic]
            self.journal.append(*(["x", name, *partition] for partition in gone))
            for partition in gone:
                del stored[partition]
        self.pending.forget_topic(topic)

    def expire_offsets(self) -> None:
        """Forgets offsets that have been kept long enough, and groups that are empty and have none."""
        for name, group in list(self.groups.items()):
            if name in self.pending:
                continue
            stored = self.offsets.get(name, {})
            gone = [
                partition for partition, committed in stored.items() if self._is_expired(group, partition, committed)
            ]
            if (
                group.state == EMPTY
                and len(gone) == len(stored)
                and not (isinstance(group, Group) and group.is_awaited)
            ):
                self.delete_group(name)
            elif gone:
                self.delete_offsets(name, gone, lambda: None)

    def _is_expired(self, group: Group | ConsumerGroup, partition: Partition, committed: Committed) -> bool:
        """As in Kafka: for subscribed topics never, in a classic group counted from when it became empty."""
        keep_ms = self.config.offsets_retention_ms
        if isinstance(group, Group) and group.protocol_type is not None:
            if group.state == EMPTY:
                return self._clock.now() - group.empty_since >= keep_ms / 1000
            if group.protocol_type != PROTOCOL_TYPE or group.subscribed is None or group.state != STABLE:
                return False
        return now_ms() - committed.timestamp >= keep_ms and not group.subscribes_to(partition[0])

    def change_settings(self, name: str, settings: dict[str, str]) -> None:
        """Replaces a group's settings. The caller flushes the journal before it answers. Raises OSError."""
        self.journal.append(["s", name, settings])
        self.settings[name] = settings
        if not settings:
            del self.settings[name]

    def flush(self, done: Callback) -> None:
        self._durable(self.journal, done)

    def store_classic(self, group: Group, done: Callback) -> None:
        """Writes a generation down. Raises OSError."""
        self._store([["g", group.name, group.snapshot()]], done)

    def _store(self, entries: list[Entry], done: Callback) -> None:
        # As one record: of a change that a crash interrupts nothing is to be seen.
        self.journal.append(entries[0] if len(entries) == 1 else ["b", entries[0][1], entries])
        self._durable(self.journal, done)

    def _forget(self, name: str) -> None:
        group = self.groups.pop(name, None)
        if group is not None:
            group.end()
        self.offsets.pop(name, None)
        self.pending.forget(name)

    def _replay(self, entry: Entry) -> None:
        kind, name = entry[0], entry[1]
        if kind == "o":
            self.ensure(name)
            offsets = {(entry[2], entry[3]): Committed(*entry[4:8])}
            self.offsets.setdefault(name, {}).update(offsets)
            self.pending.superseded(name, offsets)
        elif kind == "p":
            self.ensure(name)
            held = None if entry[6] is None else Committed(*entry[6:10])
            self.pending.hold(name, entry[2], entry[3], {(entry[4], entry[5]): held})
        elif kind == "m":
            self._finish(name, entry[2], entry[3])
        elif kind == "x":
            self.offsets.get(name, {}).pop((entry[2], entry[3]), None)
        elif kind == "g":
            classic = self.groups.get(name)
            if not isinstance(classic, Group):
                classic = self.groups[name] = self.new_classic(name)
            classic.restore(entry[2])
        elif kind == "d":
            self._forget(name)
        elif kind == "s":
            self.settings[name] = entry[2]
        elif kind == "b":
            for one in entry[2]:
                self._replay(one)
        else:
            group = self.groups.get(name)
            if not isinstance(group, ConsumerGroup):
                group = self.groups[name] = self.new_consumer(name)
            group.state_of.replay(entry)

    def _snapshot(self) -> Iterator[Entry]:
        for name, group in self.groups.items():
            if isinstance(group, ConsumerGroup):
                yield from group.state_of.snapshot()
            else:
                yield ["g", name, group.snapshot()]
        for name, stored in self.offsets.items():
            for partition, committed in stored.items():
                yield ["o", name, *partition, *committed]
        for name, settings in self.settings.items():
            yield ["s", name, settings]
        # After the offsets: one that comes after would count as the newer one.
        yield from self.pending.entries()
