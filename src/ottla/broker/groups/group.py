"""The state machine of one consumer group (the classic protocol, KIP-62, 345, 394, 429, 814).

    Empty --join--> PreparingRebalance --all joined, or time is up--> CompletingRebalance --leader syncs--> Stable
      ^                    ^                                                  |                               |
      |                    +---------- a member joins anew, leaves or expires-+-------------------------------+
      +--- the last member leaves

A JoinGroup is answered when the rebalance has everybody (or its time is up, and who did not come is out); a SyncGroup
when the leader has handed in the assignment. Both replies may thus be long in coming. Which assignor is used, and
whether it is cooperative, is the members' affair: the broker passes their bytes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ottla.broker.groups.agreement import common_protocols, subscribed_topics, vote
from ottla.broker.groups.clock import Cancellable, Clock
from ottla.broker.groups.committer import Check, Committer
from ottla.broker.groups.consumer_protocol import PROTOCOL_TYPE
from ottla.broker.groups.member import JoinRequest, Member, Reply, refuse_join
from ottla.broker.groups.refusal import Refused
from ottla.broker.groups.sessions import Sessions
from ottla.broker.ids import long_form, random_id
from ottla.broker.log.recovery import now_ms
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Message

logger = logging.getLogger("ottla.broker")

EMPTY = "Empty"
PREPARING = "PreparingRebalance"
COMPLETING = "CompletingRebalance"
STABLE = "Stable"
DEAD = "Dead"


class Group:
    """One consumer group.

    Args:
        name: The group id.
        clock: Timers.
        stored: Called with a done-callback when a new assignment or an empty generation must be written down; replies
            wait for the done-callback.
        initial_delay_ms: How long a group that was empty waits for more members.
        size_max: How many members there may be.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        stored: Callable[[Group, Callable[[], None]], None],
        initial_delay_ms: int = 0,
        size_max: int = 2**31 - 1,
    ) -> None:
        self.name = name
        self.state = EMPTY
        self.generation = 0
        self.protocol_type: str | None = None
        self.protocol: str | None = None
        self.leader: str | None = None
        self.members: dict[str, Member] = {}
        self.empty_since = clock.now()
        self.subscribed: set[str] | None = None  # topics, as of the present generation; None if nobody can know
        self.size_max = size_max
        self._clock = clock
        self._sessions = Sessions(clock, lambda member: self.members.get(member.id) is member, self._session_ended)
        self._stored = stored
        self._initial_delay_ms = initial_delay_ms
        self._static: dict[str, str] = {}  # instance id -> member id
        self._pending: dict[str, Cancellable] = {}  # ids given out that did not join yet
        self._timer: Cancellable | None = None  # of the rebalance or of the wait for syncs
        self._delayed = False
        self._delay_left_ms = 0
        self._newcomers = False  # during the initial delay
        self._unsynced: set[str] = set()  # members that have yet to ask for their assignment

    # Join

    def join(self, request: JoinRequest, reply: Reply) -> None:
        """Handles a JoinGroup; the reply comes when the rebalance is complete."""
        if not self._has_room(request.member_id):
            refuse_join(reply, ErrorCode.GROUP_MAX_SIZE_REACHED, "")
        elif not self._accepts(request):
            refuse_join(reply, ErrorCode.INCONSISTENT_GROUP_PROTOCOL, request.member_id)
        elif not request.member_id:
            self._join_new(request, reply)
        else:
            self._join_known(request, reply)

    def _has_room(self, member_id: str) -> bool:
        if self.state == EMPTY:
            return True
        member = self.members.get(member_id)
        if self.state == PREPARING:
            # Those that have joined count, so that a group that has to shrink loses who comes last.
            joined = sum(one.joining is not None for one in self.members.values())
            return (member is not None and member.joining is not None) or joined < self.size_max
        return member is not None or len(self.members) < self.size_max

    def _accepts(self, request: JoinRequest) -> bool:
        """Whether there is an assignor that all members know, this one too, also as it was before."""
        if not request.protocols or not request.protocol_type:
            return False
        if self.state == EMPTY:
            return True
        if request.protocol_type != self.protocol_type:
            return False
        return bool(common_protocols([name for name, _ in request.protocols], self.members.values()))

    def _join_new(self, request: JoinRequest, reply: Reply) -> None:
        member_id = f"{request.instance_id or request.client_id}-{long_form(random_id())}"
        known = self._static.get(request.instance_id or "")
        if request.instance_id is not None and known is not None:
            self._replace_static(self.members[known], member_id, request, reply)
        elif request.instance_id is None and request.knows_member_id_required:
            expiry = self._clock.call_later(request.session_timeout_ms / 1000, lambda: self._expire_pending(member_id))
            self._pending[member_id] = expiry
            refuse_join(reply, ErrorCode.MEMBER_ID_REQUIRED, member_id)
        else:
            self._add(member_id, request, reply)

    def _join_known(self, request: JoinRequest, reply: Reply) -> None:
        fault = self.fault(request.member_id, request.instance_id)
        pending = self._pending.pop(request.member_id, None)
        if pending is not None:
            pending.cancel()
            self._add(request.member_id, request, reply)
        elif fault:
            refuse_join(reply, fault, request.member_id)
        else:
            self._rejoin(self.members[request.member_id], request, reply)

    def _rejoin(self, member: Member, request: JoinRequest, reply: Reply) -> None:
        same = member.protocols == request.protocols
        answered_already = self.state == COMPLETING or (self.state == STABLE and member.id != self.leader)
        if same and answered_already:
            member.update(request)
            self.touch(member)
            reply(self._joined(member))
            return
        member.update(request)
        self._await_join(member, reply)

    def _add(self, member_id: str, request: JoinRequest, reply: Reply) -> None:
        member = Member.from_request(member_id, request)
        member.is_new = True
        if not self.members:
            self.protocol_type = request.protocol_type
        self._newcomers = True
        self.members[member_id] = member
        if member.instance_id is not None:
            self._static[member.instance_id] = member_id
        self._await_join(member, reply)

    def _await_join(self, member: Member, reply: Reply) -> None:
        if member.joining is not None:
            refuse_join(member.joining, ErrorCode.REBALANCE_IN_PROGRESS, member.id)
        member.joining = reply
        self.touch(member)
        if self.state != PREPARING:
            self._prepare()
        self._complete_if_all_joined()

    def _replace_static(self, old: Member, member_id: str, request: JoinRequest, reply: Reply) -> None:
        """A static member came back without its id (a restart): it takes its old place, and the old one is fenced."""
        for waiting in (old.joining, old.syncing):
            if waiting is not None:
                refuse_join(waiting, ErrorCode.FENCED_INSTANCE_ID, old.id)
        leader_before = self.leader
        member = Member.from_request(member_id, request)
        member.assignment = old.assignment
        # Rebuilt in order, so that the newcomer stands where the old one stood.
        self.members = {(member_id if m is old else i): (member if m is old else m) for i, m in self.members.items()}
        self._static[old.instance_id or ""] = member_id
        if self.leader == old.id:
            self.leader = member_id
        if old.id in self._unsynced:
            self._unsynced.remove(old.id)
            self._unsynced.add(member_id)
        # Whether its subscription has changed does not matter, as in Kafka: only if the assignor does, all join again.
        if self.state != STABLE or vote(list(self.members.values())) != self.protocol:
            self._await_join(member, reply)
            return
        self.touch(member)
        answer = self._joined(member)
        if leader_before == old.id:
            if request.knows_skip_assignment:
                answer["skip_assignment"] = True
            else:
                # An older client that is told it leads would compute an assignment nobody asked for.
                answer |= {"leader": old.id, "members": []}
        self._stored(self, lambda: reply(answer))

    # Rebalance

    def _prepare(self) -> None:
        """Starts a rebalance: everybody has to join again."""
        for member in self.members.values():
            if member.syncing is not None:
                waiting, member.syncing = member.syncing, None
                waiting({"error_code": ErrorCode.REBALANCE_IN_PROGRESS})
        fresh = self.state == EMPTY
        self.state = PREPARING
        self._unsynced.clear()
        self._delayed = fresh and self._initial_delay_ms > 0
        longest = max(m.rebalance_timeout_ms for m in self.members.values())
        if not self._delayed:
            self._restart_timer(longest, self._join_time_is_up)
            return
        self._newcomers = False
        self._delay_left_ms = max(longest - self._initial_delay_ms, 0)
        self._restart_timer(self._initial_delay_ms, self._delay_is_over)

    def _delay_is_over(self) -> None:
        """Waits on as long as new members keep coming, up to the rebalance timeout."""
        if not self._newcomers or not self._delay_left_ms:
            self._join_time_is_up()
            return
        self._newcomers = False
        wait_ms = min(self._initial_delay_ms, self._delay_left_ms)
        self._delay_left_ms -= wait_ms
        self._restart_timer(wait_ms, self._delay_is_over)

    def _restart_timer(self, milliseconds: int, action: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._clock.call_later(milliseconds / 1000, action)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _complete_if_all_joined(self) -> None:
        joined = all(member.joining is not None for member in self.members.values())
        if self.state == PREPARING and joined and not self._pending and not self._delayed:
            self._complete()

    def _join_time_is_up(self) -> None:
        self._delayed = False
        for member in list(self.members.values()):
            # A static member keeps its place until its session ends.
            if member.joining is None and member.instance_id is None:
                self._forget(member)
        if self.members and not any(member.joining for member in self.members.values()):
            longest = max(member.rebalance_timeout_ms for member in self.members.values())
            self._restart_timer(longest, self._join_time_is_up)
            return
        self._complete()

    def _complete(self) -> None:
        """Everybody who is coming is here: the next generation begins."""
        self._stop_timer()
        self.generation += 1
        if not self.members:
            self._become_empty()
            return
        leader = self.members.get(self.leader or "")
        if leader is None or leader.joining is None:
            self.leader = next(member.id for member in self.members.values() if member.joining is not None)
        self.protocol = vote(list(self.members.values()))
        self.subscribed = subscribed_topics(self.protocol_type, self.protocol, self.members.values())
        self.state = COMPLETING
        self._unsynced = set(self.members)
        longest = max(member.rebalance_timeout_ms for member in self.members.values())
        self._restart_timer(longest, self._sync_time_is_up)
        for member in self.members.values():
            member.assignment = b""
            if member.joining is not None:
                waiting, member.joining = member.joining, None
                member.is_new = False
                self.touch(member)
                waiting(self._joined(member))

    def _joined(self, member: Member) -> Message:
        everybody: list[Message] = []
        if member.id == self.leader:
            everybody = [
                {"member_id": m.id, "group_instance_id": m.instance_id, "metadata": m.metadata(self.protocol)}
                for m in self.members.values()
            ]
        return {
            "error_code": ErrorCode.NONE,
            "generation_id": self.generation,
            "protocol_type": self.protocol_type,
            "protocol_name": self.protocol,
            "leader": self.leader,
            "member_id": member.id,
            "members": everybody,
        }

    def _become_empty(self) -> None:
        self.state = EMPTY
        self.protocol = self.leader = None
        self.subscribed = set() if self.protocol_type == PROTOCOL_TYPE else None
        self.empty_since = self._clock.now()
        try:
            self._stored(self, lambda: None)
        except OSError as error:
            # After a crash its last members seem to be there, until their sessions end: nobody is worse off.
            logger.error("group %s: that it is empty could not be written: %s", self.name, error)

    # Sync

    def sync(
        self,
        member_id: str,
        instance_id: str | None,
        generation: int,
        protocol_type: str | None,
        protocol: str | None,
        assignments: dict[str, bytes],
        reply: Reply,
    ) -> None:
        """Handles a SyncGroup; the reply comes when the leader has handed in the assignment and it is written down."""
        fault = self.fault(member_id, instance_id) or self._sync_fault(generation, protocol_type, protocol)
        if fault:
            reply({"error_code": fault})
            return
        member = self.members[member_id]
        self.touch(member)
        self._unsynced.discard(member_id)
        if self.state == STABLE:
            if not self._unsynced:
                self._stop_timer()
            reply(self._synced(member))
            return
        member.syncing = reply
        if member_id == self.leader:
            for one in self.members.values():
                one.assignment = assignments.get(one.id, b"")
            self._store_assignment()

    def _store_assignment(self) -> None:
        generation = self.generation
        try:
            self._stored(self, lambda: self._assignment_stored(generation))
        except OSError as error:
            logger.error("group %s: generation %d could not be written: %s", self.name, generation, error)
            for member in self.members.values():
                member.assignment = b""
                if member.syncing is not None:
                    waiting, member.syncing = member.syncing, None
                    waiting({"error_code": ErrorCode.COORDINATOR_NOT_AVAILABLE})
            self._prepare()

    def _sync_fault(self, generation: int, protocol_type: str | None, protocol: str | None) -> ErrorCode | None:
        if generation != self.generation:
            return ErrorCode.ILLEGAL_GENERATION
        if (protocol_type or self.protocol_type) != self.protocol_type or (protocol or self.protocol) != self.protocol:
            return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        return ErrorCode.REBALANCE_IN_PROGRESS if self.state == PREPARING else None

    def _assignment_stored(self, generation: int) -> None:
        # A member may have left while the disk was busy: then a newer rebalance is under way, and this one is void.
        if self.state != COMPLETING or generation != self.generation:
            return
        self.state = STABLE
        if not self._unsynced:
            self._stop_timer()
        for member in self.members.values():
            if member.syncing is not None:
                waiting, member.syncing = member.syncing, None
                self.touch(member)
                waiting(self._synced(member))
        # Those that have not asked yet are answered at once when they do; the timer still removes who never does.

    def _synced(self, member: Member) -> Message:
        return {
            "error_code": ErrorCode.NONE,
            "protocol_type": self.protocol_type,
            "protocol_name": self.protocol,
            "assignment": member.assignment,
        }

    def _sync_time_is_up(self) -> None:
        """Whoever did not ask for its assignment, the leader perhaps, is out."""
        self._timer = None
        if self.state not in (COMPLETING, STABLE) or not self._unsynced:
            return
        for member_id in self._unsynced & self.members.keys():
            self._forget(self.members[member_id])
        self._after_removal()

    # Liveness

    def heartbeat(self, member_id: str, instance_id: str | None, generation: int) -> ErrorCode:
        fault = self.fault(member_id, instance_id)
        if fault:
            return fault
        if generation != self.generation:
            return ErrorCode.ILLEGAL_GENERATION
        self.touch(self.members[member_id])
        return ErrorCode.REBALANCE_IN_PROGRESS if self.state == PREPARING else ErrorCode.NONE

    def touch(self, member: Member) -> None:
        """A sign of life: the session starts anew."""
        self._sessions.touch(member)

    def _session_ended(self, member: Member) -> None:
        self._forget(member)
        self._after_removal()

    def _expire_pending(self, member_id: str) -> None:
        if self._pending.pop(member_id, None) is not None:
            self._complete_if_all_joined()

    def leave(self, members: list[tuple[str, str | None]]) -> list[ErrorCode]:
        """Members, as (member id, instance id), go of their own will. A static one may be named by the latter."""
        codes = [self._leave(member_id, instance_id) for member_id, instance_id in members]
        if ErrorCode.NONE in codes:
            self._after_removal()
        return codes

    def _leave(self, member_id: str, instance_id: str | None) -> ErrorCode:
        if instance_id is not None and not member_id:
            member_id = self._static.get(instance_id, "")
        pending = self._pending.pop(member_id, None)
        if pending is not None:
            pending.cancel()
            self._complete_if_all_joined()
            return ErrorCode.NONE
        fault = self.fault(member_id, instance_id)
        if fault:
            return fault
        self._forget(self.members[member_id])
        return ErrorCode.NONE

    def _forget(self, member: Member) -> None:
        del self.members[member.id]
        self._unsynced.discard(member.id)
        if member.instance_id is not None and self._static.get(member.instance_id) == member.id:
            del self._static[member.instance_id]
        if member.joining is not None:
            refuse_join(member.joining, ErrorCode.UNKNOWN_MEMBER_ID, member.id)
        if member.syncing is not None:
            member.syncing({"error_code": ErrorCode.UNKNOWN_MEMBER_ID})

    def _after_removal(self) -> None:
        if self.state == PREPARING:
            self._complete_if_all_joined()
        elif self.state in (STABLE, COMPLETING):
            if self.members:
                self._prepare()
                self._complete_if_all_joined()
            else:
                self._complete()

    # Checks and storage

    def fault(self, member_id: str, instance_id: str | None) -> ErrorCode | None:
        """Why a member may not speak for itself: it is unknown, or its instance id belongs to another by now."""
        if instance_id is not None:
            current = self._static.get(instance_id)
            if current is None:
                return ErrorCode.UNKNOWN_MEMBER_ID
            if current != member_id:
                return ErrorCode.FENCED_INSTANCE_ID
        return None if member_id in self.members else ErrorCode.UNKNOWN_MEMBER_ID

    def check_commit(self, commit: Committer) -> Check:
        """Whether offsets may be committed. Without a generation they come from outside: for empty groups only.

        Raises:
            Refused: They may not.
        """
        if commit.epoch < 0 and self.state == EMPTY:
            return lambda _: None
        if commit.is_nobody or (commit.epoch < 0 and not commit.member_id and commit.instance_id is None):
            if commit.transactional:
                return lambda _: None  # older clients' transactions name nobody
            raise Refused(ErrorCode.UNKNOWN_MEMBER_ID)
        fault = self.fault(commit.member_id, commit.instance_id)
        if fault:
            raise Refused(fault)
        if commit.epoch != self.generation:
            raise Refused(ErrorCode.ILLEGAL_GENERATION)
        if self.state == COMPLETING and not commit.transactional:
            raise Refused(ErrorCode.REBALANCE_IN_PROGRESS)
        if not commit.transactional:
            self.touch(self.members[commit.member_id])
        return lambda _: None

    def subscribes_to(self, topic: str) -> bool:
        """Whether the members read a topic, as far as the broker can know."""
        return self.subscribed is not None and topic in self.subscribed

    @property
    def is_awaited(self) -> bool:
        """Whether somebody was given an id to join with, and has not yet."""
        return bool(self._pending)

    # The other protocol

    def adopt(self, member: Member) -> None:
        """Takes in a member of a consumer group that becomes a classic one."""
        self.members[member.id] = member
        if member.instance_id is not None:
            self._static[member.instance_id] = member.id
        self.protocol = vote(list(self.members.values()))
        self.subscribed = subscribed_topics(self.protocol_type, self.protocol, self.members.values())
        self.touch(member)

    def rebalance(self) -> None:
        """Asks everybody to join again."""
        self._prepare()
        self._complete_if_all_joined()

    def end(self, code: ErrorCode = ErrorCode.REBALANCE_IN_PROGRESS) -> None:
        """The group is no more (deleted, or it has become a consumer group): who waits is told so, timers end."""
        self.state = DEAD
        self._stop_timer()
        for pending in self._pending.values():
            pending.cancel()
        self._pending.clear()
        for member in list(self.members.values()):
            if member.joining is not None:
                refuse_join(member.joining, code, member.id)
            if member.syncing is not None:
                member.syncing({"error_code": code})
            member.joining = member.syncing = None
        self.members.clear()

    def snapshot(self) -> Message:
        return {
            "generation": self.generation,
            "protocol_type": self.protocol_type,
            "protocol": self.protocol,
            "leader": self.leader,
            "members": [member.snapshot() for member in self.members.values()],
            "empty_since_ms": now_ms() - round((self._clock.now() - self.empty_since) * 1000),
        }

    def restore(self, stored: Message) -> None:
        """Takes up a stored generation, so that its members go on as if nothing had happened."""
        self.generation = stored["generation"]
        self.protocol_type = stored["protocol_type"]
        self.protocol = stored["protocol"]
        self.leader = stored["leader"]
        restored: list[Any] = [Member.restore(snapshot) for snapshot in stored["members"]]
        self.members = {member.id: member for member in restored}
        self._static = {member.instance_id: member.id for member in restored if member.instance_id is not None}
        self.state = STABLE if self.members else EMPTY
        self.subscribed = subscribed_topics(self.protocol_type, self.protocol, self.members.values())
        if not self.members:
            since_ms = stored.get("empty_since_ms", now_ms())  # missing in journals of earlier versions
            self.empty_since = self._clock.now() - (now_ms() - since_ms) / 1000

    def resume(self) -> None:
        """Starts the sessions of restored members."""
        for member in self.members.values():
            self.touch(member)
