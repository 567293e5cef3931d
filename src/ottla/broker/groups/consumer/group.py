"""The state machine of one group of the new consumer protocol (KIP-848).

Three epochs drive it. The *group epoch* rises whenever members, subscriptions or topics change. The *target assignment*
is computed for a group epoch. Each *member epoch* follows: a member is asked for what it has to give back, then moves
to the target's epoch and gets what is free (see reconciliation.py). Members learn everything from their own heartbeats;
nobody waits for anybody, and nothing but the partitions that move stops being read.

    Empty --> Assigning (the target is older than the group) --> Reconciling (some members are behind) --> Stable
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from ottla.broker.groups.clock import Cancellable, Clock
from ottla.broker.groups.committer import Check, Committer
from ottla.broker.groups.consumer.assignors import ASSIGNORS, Subscriber
from ottla.broker.groups.consumer.member import (
    LEFT_STATIC_EPOCH,
    UNREVOKED,
    ConsumerMember,
    Heartbeat,
    IdPartition,
)
from ottla.broker.groups.consumer.reconciliation import reconcile
from ottla.broker.groups.consumer.state import State
from ottla.broker.groups.consumer.subscriptions import Subscriptions, Topics
from ottla.broker.groups.refusal import Refused
from ottla.broker.ids import random_id, short_form
from ottla.broker.log.journal import Entry
from ottla.broker.wire.errors import ErrorCode

logger = logging.getLogger("ottla.broker")

AGAIN_MS = 1000  # after a failed write
COMMITS_KNOW_EPOCHS_SINCE = 9  # version of OffsetCommit
EMPTY, ASSIGNING, RECONCILING, STABLE = "Empty", "Assigning", "Reconciling", "Stable"

Done = Callable[[], None]
Store = Callable[[list[Entry], Done], None]


@dataclass(frozen=True)
class Limits:
    """What configuration says about a group; may change while it lives."""

    session_timeout_ms: int = 45_000
    heartbeat_interval_ms: int = 5_000
    size_max: int = 2**31 - 1
    assignors: tuple[str, ...] = ("uniform", "range")


@dataclass(frozen=True)
class Answer:
    """What a heartbeat is answered. `assignment` is None if it is what the member knows already."""

    member_id: str
    epoch: int
    heartbeat_interval_ms: int = 0
    assignment: frozenset[IdPartition] | None = None


class ConsumerGroup:
    """One group.

    Args:
        name: The group id.
        clock: Timers.
        topics: The broker's topics.
        limits: Gives the configuration in force.
        store: Writes journal entries, and calls back when they are durable. Raises OSError; then nothing is written.

    `downgrade` is for the coordinator to set: asked whether the group becomes a classic one as these members leave, and
    then it does so.
    """

    protocol_type = "consumer"

    def __init__(self, name: str, clock: Clock, topics: Topics, limits: Callable[[], Limits], store: Store) -> None:
        self.name = name
        self.limits = limits
        self.state_of = State(name)
        self.topics = topics
        self.subscriptions = Subscriptions(topics)
        self.clock = clock
        self.downgrade: Callable[[list[ConsumerMember], Done], bool] = lambda _members, _done: False
        self.deleted = False
        self._store = store
        self._deadlines: dict[str, float] = {}
        self._armed: set[str] = set()
        self._timers: dict[tuple[str, str], tuple[int, Cancellable]] = {}  # (kind, member id) -> epoch, timer

    # What others may ask

    @property
    def members(self) -> dict[str, ConsumerMember]:
        return self.state_of.members

    @property
    def state(self) -> str:
        known = self.state_of
        if not known.members:
            return EMPTY
        if known.epoch > known.assignment_epoch:
            return ASSIGNING
        done = all(member.is_at(known.assignment_epoch) for member in known.members.values())
        return STABLE if done else RECONCILING

    @property
    def assignor(self) -> str:
        """The assignor that most members want; the first configured one if nobody wants any."""
        votes: dict[str, int] = {}
        for member in self.members.values():
            if member.assignor is not None:
                votes[member.assignor] = votes.get(member.assignor, 0) + 1
        return max(votes, key=lambda name: votes[name]) if votes else self.limits().assignors[0]

    def subscribes_to(self, topic: str) -> bool:
        """Whether any member reads a topic, by name or by pattern."""
        return any(
            topic in member.topics or topic in self.subscriptions.names_of(member) for member in self.members.values()
        )

    def member(self, member_id: str, instance_id: str | None = None) -> ConsumerMember:
        """The member that speaks. Raises Refused: it is unknown, or its instance id is another's by now."""
        if instance_id is None:
            member = self.members.get(member_id)
            if member is None:
                message = f"Member {member_id} is not a member of group {self.name}."
                raise Refused(ErrorCode.UNKNOWN_MEMBER_ID, message)
            return member
        current = self.state_of.static.get(instance_id)
        if current is None:
            raise Refused(ErrorCode.UNKNOWN_MEMBER_ID, f"Instance id {instance_id} is unknown.")
        if current != member_id:
            message = f"Static member {member_id} with instance id {instance_id} was fenced by member {current}."
            raise Refused(ErrorCode.FENCED_INSTANCE_ID, message)
        return self.members[member_id]

    # Heartbeats

    def heartbeat(self, beat: Heartbeat, done: Callable[[Answer], None]) -> None:
        """Handles a heartbeat of a member, or its joining; `done` gets the answer once the change is durable.

        Raises:
            Refused: Nothing has changed.
            OSError: The change could not be written down; nothing has changed.
        """
        self.check_room(beat.member_id)
        if beat.epoch == 0 and not beat.member_id:
            beat = replace(beat, member_id=short_form(random_id()))
        with self.state_of.change():
            before = self._joining(beat) if beat.epoch == 0 else self._current(beat)
            member = before.told(beat)
            if member.regex:
                self.subscriptions.see(beat.may_see, anew=beat.regex is not None)
            member = self.step(before, member, beat.owned)
            changed = member.assigned.keys() != before.assigned.keys()
            assignment = frozenset(member.assigned) if beat.is_full or changed else None
            answer = Answer(member.id, member.epoch, self.limits().heartbeat_interval_ms, assignment)
            self.write(lambda: done(answer))
        self.touch(member.id, self.limits().session_timeout_ms)
        self._watch_revocation(member)

    def check_room(self, member_id: str) -> None:
        """Raises Refused if the group is full and this is not one of its members."""
        size_max = self.limits().size_max
        if len(self.members) >= size_max and member_id not in self.members:
            message = f"The consumer group has reached its maximum capacity of {size_max} members."
            raise Refused(ErrorCode.GROUP_MAX_SIZE_REACHED, message)

    def _joining(self, beat: Heartbeat) -> ConsumerMember:
        if beat.instance_id is None or beat.instance_id not in self.state_of.static:
            return self.members.get(beat.member_id) or ConsumerMember(beat.member_id, instance_id=beat.instance_id)
        old = self.members[self.state_of.static[beat.instance_id]]
        if old.classic is None and old.epoch != LEFT_STATIC_EPOCH:
            message = (
                f"Static member {beat.member_id} with instance id {beat.instance_id} cannot join the group because the "
                f"instance id is owned by {old.id} member."
            )
            raise Refused(ErrorCode.UNRELEASED_INSTANCE_ID, message)
        return self.replace_static(old, beat.member_id)

    def replace_static(self, old: ConsumerMember, member_id: str) -> ConsumerMember:
        """A static member came back under a new id: it takes the place of the old one, with all that it has."""
        target = self.state_of.target.get(old.id, frozenset())
        self.state_of.remove(old.id)
        member = replace(old, id=member_id, epoch=0, previous_epoch=0)
        self.state_of.put(member)
        self.state_of.aim({member_id: target})
        return member

    def _current(self, beat: Heartbeat) -> ConsumerMember:
        member = self.member(beat.member_id, beat.instance_id)
        if beat.epoch == member.epoch:
            return member
        # The answer that told the new epoch may have been lost: then the member still says the one before.
        repeated = (
            beat.epoch == member.previous_epoch and beat.owned is not None and beat.owned <= member.assigned.keys()
        )
        if beat.epoch > member.epoch or not repeated:
            which = "greater" if beat.epoch > member.epoch else "smaller"
            message = (
                f"The consumer group member has a {which} member epoch ({beat.epoch}) than the one known by the group "
                f"coordinator ({member.epoch}). The member must abandon all its partitions and rejoin."
            )
            raise Refused(ErrorCode.FENCED_MEMBER_EPOCH, message)
        return member

    def step(
        self, before: ConsumerMember, member: ConsumerMember, owned: frozenset[IdPartition] | None
    ) -> ConsumerMember:
        """Takes a member with its news into the group, and moves it one step on. Within `state_of.change()`."""
        known = self.state_of
        wants_else = member.topics != before.topics
        if member.regex != before.regex:
            wants_else |= self.subscriptions.names_of(member) != self.subscriptions.names_of(before)
        known.put(member)
        if wants_else or known.topics_seen != self.topics.changes:
            self._look_at_topics(bump=wants_else)
        if known.epoch > known.assignment_epoch:
            self._assign()
        target = known.target.get(member.id, frozenset())
        moved = reconcile(member, known.assignment_epoch, target, owned, known.is_held)
        known.put(moved)
        return moved

    def _look_at_topics(self, *, bump: bool) -> None:
        """A new group epoch, if the subscribed topics are not what they were (or if it is wanted anyway)."""
        known = self.state_of
        found = self.subscriptions.digest(self.members.values())
        if bump or found != known.topics_digest:
            known.set_epochs(known.epoch + 1, known.assignment_epoch, found)
        known.topics_seen = self.topics.changes

    def _assign(self) -> None:
        """A new target assignment, for the present group epoch."""
        known = self.state_of
        counts = self.subscriptions.counts(self.members.values())
        nothing: frozenset[IdPartition] = frozenset()
        subscribers = [
            Subscriber(
                member.id, member.instance_id, self.subscriptions.ids_of(member), known.target.get(member.id, nothing)
            )
            for member in self.members.values()
        ]
        known.aim(ASSIGNORS[self.assignor](subscribers, counts))
        known.set_epochs(known.epoch, known.epoch, known.topics_digest)

    # Leaving

    def leave(self, member_id: str, instance_id: str | None, epoch: int, done: Done) -> None:
        """A member goes: for good, or (a static one with epoch -2) for a while. Raises Refused, OSError."""
        member = self.member(member_id, instance_id)
        if instance_id is not None and epoch == LEFT_STATIC_EPOCH:
            with self.state_of.change():
                self.state_of.put(replace(member, epoch=LEFT_STATIC_EPOCH, revoking={}))
                self.write(done)
            return
        self.remove([member], done)

    def remove(self, members: list[ConsumerMember], done: Done) -> None:
        """Takes members out, which makes the others share what they had. Raises OSError."""
        if self.downgrade(members, done):
            return
        known = self.state_of
        with known.change():
            for member in members:
                known.remove(member.id)
            found = self.subscriptions.digest(self.members.values())
            known.set_epochs(known.epoch + 1, known.assignment_epoch, found)
            self.write(done)
        for member in members:
            self.forget_timers(member.id)

    def _fence(self, member_id: str) -> None:
        """A member's time is up."""
        member = self.members.get(member_id)
        if member is None:
            return
        try:
            self.remove([member], lambda: None)
        except OSError as error:
            logger.error("group %s: that member %s is gone could not be written: %s", self.name, member_id, error)
            self.touch(member_id, AGAIN_MS)

    # Time

    def touch(self, member_id: str, session_timeout_ms: int) -> None:
        """A sign of life: the session starts anew."""
        seconds = session_timeout_ms / 1000
        self._deadlines[member_id] = self.clock.now() + seconds
        if member_id not in self._armed:
            self._armed.add(member_id)
            self.clock.call_later(seconds, lambda: self._check_session(member_id))

    def _check_session(self, member_id: str) -> None:
        # One timer per member that looks again later, instead of one per heartbeat.
        self._armed.discard(member_id)
        if self.deleted or member_id not in self.members:
            self._deadlines.pop(member_id, None)
            return
        left = self._deadlines[member_id] - self.clock.now()
        if left <= 0:
            self._fence(member_id)
            return
        self._armed.add(member_id)
        self.clock.call_later(left, lambda: self._check_session(member_id))

    def _watch_revocation(self, member: ConsumerMember) -> None:
        """A member that does not give back in time what it has to is fenced: others wait for it."""
        if member.state != UNREVOKED:
            self.cancel_timer("revoke", member.id)
            return
        self.start_timer("revoke", member.id, member.rebalance_timeout_ms, member.epoch)

    def start_timer(self, kind: str, member_id: str, milliseconds: int, epoch: int = -1) -> None:
        """Fences a member after a time, unless cancelled, or (with an epoch) it has another epoch by then."""
        running = self._timers.get((kind, member_id))
        if running is not None and running[0] == epoch:
            return
        self.cancel_timer(kind, member_id)

        def due() -> None:
            self._timers.pop((kind, member_id), None)
            member = self.members.get(member_id)
            if not self.deleted and member is not None and epoch in (-1, member.epoch):
                self._fence(member_id)

        self._timers[kind, member_id] = (epoch, self.clock.call_later(max(milliseconds, 0) / 1000, due))

    def cancel_timer(self, kind: str, member_id: str) -> None:
        running = self._timers.pop((kind, member_id), None)
        if running is not None:
            running[1].cancel()

    def forget_timers(self, member_id: str) -> None:
        self._deadlines.pop(member_id, None)
        for kind in ("revoke", "join", "sync"):
            self.cancel_timer(kind, member_id)

    def resume(self) -> None:
        """Starts the members' times after a restart."""
        for member in self.members.values():
            classic = member.classic
            self.touch(member.id, self.limits().session_timeout_ms if classic is None else classic.session_timeout_ms)
            if classic is None:
                self._watch_revocation(member)

    def end(self) -> None:
        """The group is no more (deleted, or it has become a classic one): its timers mean nothing."""
        self.deleted = True
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # Offsets

    def check_commit(self, commit: Committer) -> Check:
        """Whether a member may commit, as a check per partition.

        A commit at an older epoch counts for partitions that the member has had since then (KIP-1251).

        Raises:
            Refused: It may commit nothing.
        """
        epoch = commit.epoch
        if epoch < 0 and (not self.members or (commit.transactional and commit.is_nobody)):
            return lambda _: None
        member = self.member(commit.member_id)
        stale = ErrorCode.STALE_MEMBER_EPOCH if member.classic is None else ErrorCode.ILLEGAL_GENERATION
        if member.classic is None and not commit.transactional and commit.version < COMMITS_KNOW_EPOCHS_SINCE:
            message = "OffsetCommit version 9 or above must be used by members using the consumer group protocol"
            raise Refused(ErrorCode.UNSUPPORTED_VERSION, message)
        if epoch == member.epoch:
            return lambda _: None
        if epoch > member.epoch:
            raise Refused(stale, f"Received epoch {epoch} is newer than current member epoch {member.epoch}.")

        def check(partition: IdPartition) -> ErrorCode | None:
            since = member.assigned.get(partition, member.revoking.get(partition))
            return stale if since is None or epoch < since else None

        return check

    def check_fetch(self, member_id: str | None, epoch: int) -> None:
        """Whether a member may fetch offsets; without a name anybody may. Raises Refused."""
        if member_id is None and epoch < 0:
            return
        member = self.member(member_id or "")
        if epoch != member.epoch:
            stale = ErrorCode.STALE_MEMBER_EPOCH if member.classic is None else ErrorCode.ILLEGAL_GENERATION
            message = f"The received member epoch {epoch} does not match the expected member epoch {member.epoch}."
            raise Refused(stale, message)

    # Storage

    def write(self, done: Done) -> None:
        """Writes the change under way down. Raises OSError."""
        entries = self.state_of.entries
        if entries:
            self._store(entries, done)
        else:
            done()
