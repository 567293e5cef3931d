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

import uuid
from collections.abc import Callable
from typing import Any, Protocol

from ottla.broker.groups.member import JoinRequest, Member, Reply
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Message

EMPTY = "Empty"
PREPARING = "PreparingRebalance"
COMPLETING = "CompletingRebalance"
STABLE = "Stable"
DEAD = "Dead"


class Cancellable(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """The time a group lives by; the event loop, or a test's."""

    def now(self) -> float: ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Cancellable: ...


class Group:
    """One consumer group.

    Args:
        name: The group id.
        clock: Timers.
        stored: Called with a done-callback when a new assignment or an empty generation must be written down; replies
            wait for the done-callback.
        initial_delay_ms: How long a group that was empty waits for more members.
    """

    def __init__(
        self, name: str, clock: Clock, stored: Callable[[Group, Callable[[], None]], None], initial_delay_ms: int = 0
    ) -> None:
        self.name = name
        self.state = EMPTY
        self.generation = 0
        self.protocol_type: str | None = None
        self.protocol: str | None = None
        self.leader: str | None = None
        self.members: dict[str, Member] = {}
        self.empty_since = clock.now()
        self._clock = clock
        self._stored = stored
        self._initial_delay_ms = initial_delay_ms
        self._static: dict[str, str] = {}  # instance id -> member id
        self._pending: dict[str, Cancellable] = {}  # ids given out that did not join yet
        self._timer: Cancellable | None = None  # of the rebalance or of the wait for syncs
        self._delayed = False

    # Join

    def join(self, request: JoinRequest, reply: Reply) -> None:
        """Handles a JoinGroup; the reply comes when the rebalance is complete."""
        if not self._accepts(request):
            _refuse(reply, ErrorCode.INCONSISTENT_GROUP_PROTOCOL, request.member_id)
        elif not request.member_id:
            self._join_new(request, reply)
        else:
            self._join_known(request, reply)

    def _accepts(self, request: JoinRequest) -> bool:
        if not request.protocols or not request.protocol_type:
            return False
        if not self.members:
            return True
        if request.protocol_type != self.protocol_type:
            return False
        others = [m for m in self.members.values() if m.id != request.member_id]
        common = {name for name, _ in request.protocols}
        for member in others:
            common &= {name for name, _ in member.protocols}
        return bool(common)

    def _join_new(self, request: JoinRequest, reply: Reply) -> None:
        member_id = f"{request.instance_id or request.client_id}-{uuid.uuid4()}"
        known = self._static.get(request.instance_id or "")
        if request.instance_id is not None and known is not None:
            self._replace_static(self.members[known], member_id, request, reply)
        elif request.instance_id is None and request.knows_member_id_required:
            expiry = self._clock.call_later(request.session_timeout_ms / 1000, lambda: self._expire_pending(member_id))
            self._pending[member_id] = expiry
            _refuse(reply, ErrorCode.MEMBER_ID_REQUIRED, member_id)
        else:
            self._add(member_id, request, reply)

    def _join_known(self, request: JoinRequest, reply: Reply) -> None:
        fault = self.fault(request.member_id, request.instance_id)
        pending = self._pending.pop(request.member_id, None)
        if pending is not None:
            pending.cancel()
            self._add(request.member_id, request, reply)
        elif fault:
            _refuse(reply, fault, request.member_id)
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
        if not self.members:
            self.protocol_type = request.protocol_type
        self.members[member_id] = member
        if member.instance_id is not None:
            self._static[member.instance_id] = member_id
        self._await_join(member, reply)

    def _await_join(self, member: Member, reply: Reply) -> None:
        if member.joining is not None:
            _refuse(member.joining, ErrorCode.REBALANCE_IN_PROGRESS, member.id)
        member.joining = reply
        self.touch(member)
        if self.state != PREPARING:
            self._prepare()
        self._complete_if_all_joined()

    def _replace_static(self, old: Member, member_id: str, request: JoinRequest, reply: Reply) -> None:
        """A static member came back without its id (a restart): it takes its old place, and the old one is fenced."""
        for waiting in (old.joining, old.syncing):
            if waiting is not None:
                _refuse(waiting, ErrorCode.FENCED_INSTANCE_ID, old.id)
        leader_before = self.leader
        unchanged = self.state == STABLE and old.metadata(self.protocol) == dict(request.protocols).get(
            self.protocol or ""
        )
        member = Member.from_request(member_id, request)
        member.assignment = old.assignment
        # Rebuilt in order, so that the newcomer stands where the old one stood.
        self.members = {(member_id if m is old else i): (member if m is old else m) for i, m in self.members.items()}
        self._static[old.instance_id or ""] = member_id
        if self.leader == old.id:
            self.leader = member_id
        if not unchanged:
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
        self._delayed = fresh and self._initial_delay_ms > 0
        wait_ms = (
            self._initial_delay_ms if self._delayed else max(m.rebalance_timeout_ms for m in self.members.values())
        )
        self._restart_timer(wait_ms, self._join_time_is_up)

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
        self.protocol = self._vote()
        self.state = COMPLETING
        longest = max(member.rebalance_timeout_ms for member in self.members.values())
        self._restart_timer(longest, self._sync_time_is_up)
        for member in self.members.values():
            member.assignment = b""
            if member.joining is not None:
                waiting, member.joining = member.joining, None
                self.touch(member)
                waiting(self._joined(member))

    def _vote(self) -> str:
        """Each member votes for its best assignor among those all share."""
        members = list(self.members.values())
        common = set.intersection(*({name for name, _ in member.protocols} for member in members))
        votes: dict[str, int] = {}
        for member in members:
            choice = next(name for name, _ in member.protocols if name in common)
            votes[choice] = votes.get(choice, 0) + 1
        return max(votes, key=lambda name: votes[name])

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
        self.empty_since = self._clock.now()
        self._stored(self, lambda: None)

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
        if self.state == STABLE:
            reply(self._synced(member))
            return
        member.syncing = reply
        if member_id == self.leader:
            for one in self.members.values():
                one.assignment = assignments.get(one.id, b"")
            generation = self.generation
            self._stored(self, lambda: self._assignment_stored(generation))

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
        """The leader never handed in an assignment: whoever did not sync is out."""
        self._timer = None
        if self.state != COMPLETING:
            return
        for member in list(self.members.values()):
            if member.syncing is None:
                self._forget(member)
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
        member.deadline = self._clock.now() + member.session_timeout_ms / 1000
        if not member.timer_armed:
            member.timer_armed = True
            self._clock.call_later(member.session_timeout_ms / 1000, lambda: self._check_session(member))

    def _check_session(self, member: Member) -> None:
        # One timer per member that looks again later, instead of one per heartbeat.
        member.timer_armed = False
        if self.members.get(member.id) is not member:
            return
        left = member.deadline - self._clock.now()
        if member.joining is not None or member.syncing is not None:
            left = max(left, member.session_timeout_ms / 1000)
        if left > 0:
            member.timer_armed = True
            self._clock.call_later(left, lambda: self._check_session(member))
            return
        self._forget(member)
        self._after_removal()

    def _expire_pending(self, member_id: str) -> None:
        if self._pending.pop(member_id, None) is not None:
            self._complete_if_all_joined()

    def leave(self, member_id: str, instance_id: str | None) -> ErrorCode:
        """A member goes of its own will. A static one may be named by its instance id alone."""
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
        self._after_removal()
        return ErrorCode.NONE

    def _forget(self, member: Member) -> None:
        del self.members[member.id]
        if member.instance_id is not None and self._static.get(member.instance_id) == member.id:
            del self._static[member.instance_id]
        if member.joining is not None:
            _refuse(member.joining, ErrorCode.UNKNOWN_MEMBER_ID, member.id)
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

    def commit_fault(self, member_id: str, instance_id: str | None, generation: int) -> ErrorCode | None:
        """Why a commit is refused. Without a generation it comes from outside the group: for empty groups only."""
        if generation < 0 and self.state == EMPTY:
            return None
        if generation < 0 and not member_id and instance_id is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        fault = self.fault(member_id, instance_id)
        if fault:
            return fault
        if generation != self.generation:
            return ErrorCode.ILLEGAL_GENERATION
        if self.state == COMPLETING:
            return ErrorCode.REBALANCE_IN_PROGRESS
        self.touch(self.members[member_id])
        return None

    def snapshot(self) -> Message:
        return {
            "generation": self.generation,
            "protocol_type": self.protocol_type,
            "protocol": self.protocol,
            "leader": self.leader,
            "members": [member.snapshot() for member in self.members.values()],
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

    def resume(self) -> None:
        """Starts the sessions of restored members."""
        for member in self.members.values():
            self.touch(member)


def _refuse(reply: Reply, code: ErrorCode, member_id: str) -> None:
    reply({"error_code": code, "member_id": member_id, "generation_id": -1, "protocol_name": None, "leader": ""})
