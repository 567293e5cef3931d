"""Members of a consumer group that speak the classic protocol: how a group is moved to the new one, a member at a time.

For such a member the broker plays the leader: a JoinGroup is a heartbeat that says what it owns, the generation is its
member epoch, SyncGroup gives it what it has been assigned, and Heartbeat tells it to join again when there is more to
give back or to get.
"""

from __future__ import annotations

from dataclasses import replace

from ottla.broker.groups.consumer.group import ConsumerGroup
from ottla.broker.groups.consumer.member import (
    UNRELEASED,
    UNREVOKED,
    ClassicSide,
    ConsumerMember,
    IdPartition,
    by_topic,
)
from ottla.broker.groups.consumer.subscriptions import Topics
from ottla.broker.groups.consumer_protocol import (
    PROTOCOL_TYPE,
    Malformed,
    Partitions,
    Subscription,
    read_subscription,
    write_assignment,
)
from ottla.broker.groups.member import JoinRequest, Reply, refuse_join
from ottla.broker.groups.refusal import Refused
from ottla.broker.ids import random_id, short_form
from ottla.broker.wire.errors import ErrorCode


def ids_of(partitions: Partitions, topics: Topics) -> frozenset[IdPartition]:
    """Named partitions by topic id; those of topics that are gone are left out."""
    known = ((topics.topics[name].id, indexes) for name, indexes in partitions.items() if name in topics.topics)
    return frozenset((topic_id, index) for topic_id, indexes in known for index in indexes)


def names_of(partitions: frozenset[IdPartition] | set[IdPartition], topics: Topics) -> Partitions:
    """Partitions by topic name; those of topics that are gone are left out."""
    return {topics.by_id[topic].name: parts for topic, parts in by_topic(partitions).items() if topic in topics.by_id}


def subscription_of(protocols: tuple[tuple[str, bytes], ...] | list[tuple[str, bytes]]) -> Subscription:
    """All of a member's assignors carry the same subscription, so the first will do. Raises Malformed."""
    return read_subscription(protocols[0][1])


class ClassicMembers:
    """The classic protocol's requests to a consumer group. Raise Refused; and OSError, then nothing was done."""

    def __init__(self, group: ConsumerGroup) -> None:
        self.group = group

    def join(self, request: JoinRequest, reply: Reply) -> None:
        group = self.group
        new = not request.member_id
        member_id = request.member_id or short_form(random_id())
        group.check_room(member_id)
        self._check_protocols(request, member_id)
        if new and request.instance_id is None and request.knows_member_id_required:
            refuse_join(reply, ErrorCode.MEMBER_ID_REQUIRED, member_id)
            return
        try:
            subscription = subscription_of(request.protocols)
        except Malformed as error:
            message = f"Member {member_id}'s subscription cannot be read: {error}."
            raise Refused(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, message) from None
        with group.state_of.change():
            before = self._joining(request, member_id, new=new)
            member = self._updated(before, request, subscription)
            member = group.step(before, member, ids_of(subscription.owned, group.topics))
            answer = self._joined(member)
            group.write(lambda: reply(answer))
        group.cancel_timer("join", member.id)
        group.touch(member.id, request.session_timeout_ms)
        group.cancel_timer("sync", member.id)
        group.start_timer("sync", member.id, request.rebalance_timeout_ms)
        if group.downgrade([], lambda: None):
            return

    def _check_protocols(self, request: JoinRequest, member_id: str) -> None:
        """At least one assignor must be known to all members of the classic protocol, though none is ever asked."""
        supported = {name for name, _ in request.protocols}
        for member in self.group.members.values():
            if member.classic is not None:
                supported &= {name for name, _ in member.classic.protocols}
        if request.protocol_type != PROTOCOL_TYPE or not supported:
            raise Refused(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, f"Member {member_id}'s protocols are not supported.")

    def _joining(self, request: JoinRequest, member_id: str, *, new: bool) -> ConsumerMember:
        if request.instance_id is None:
            return self.group.members.get(member_id) or ConsumerMember(member_id)
        if not new:
            return self.group.member(member_id, request.instance_id)
        old = self.group.state_of.static.get(request.instance_id)
        if old is None:
            return ConsumerMember(member_id, instance_id=request.instance_id)
        return self.group.replace_static(self.group.members[old], member_id)

    def _updated(self, before: ConsumerMember, request: JoinRequest, subscription: Subscription) -> ConsumerMember:
        return replace(
            before,
            instance_id=before.instance_id if request.instance_id is None else request.instance_id,
            rack_id=subscription.rack or before.rack_id,
            client_id=request.client_id,
            client_host=request.client_host,
            rebalance_timeout_ms=request.rebalance_timeout_ms,
            topics=tuple(sorted(set(subscription.topics))),
            regex="",
            classic=ClassicSide(request.session_timeout_ms, tuple(request.protocols)),
        )

    def _joined(self, member: ConsumerMember) -> dict[str, object]:
        assert member.classic is not None
        return {
            "error_code": ErrorCode.NONE,
            "generation_id": member.epoch,
            "protocol_type": PROTOCOL_TYPE,
            "protocol_name": member.classic.protocols[0][0],
            "leader": "",
            "member_id": member.id,
            "members": [],
        }

    def _speaking(self, member_id: str, instance_id: str | None) -> tuple[ConsumerMember, ClassicSide]:
        member = self.group.member(member_id, instance_id)
        if member.classic is None:
            raise Refused(ErrorCode.UNKNOWN_MEMBER_ID, f"Member {member_id} does not use the classic protocol.")
        return member, member.classic

    def sync(
        self,
        member_id: str,
        instance_id: str | None,
        generation: int,
        protocol_type: str | None,
        protocol: str | None,
        reply: Reply,
    ) -> None:
        group = self.group
        member, classic = self._speaking(member_id, instance_id)
        if generation != member.epoch:
            raise Refused(ErrorCode.ILLEGAL_GENERATION)
        chosen = classic.protocols[0][0]
        if (protocol_type or PROTOCOL_TYPE) != PROTOCOL_TYPE or (protocol or chosen) != chosen:
            raise Refused(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        # Whoever has partitions to give back first has joined for this rebalance already; it joins again after that.
        if group.state_of.epoch > member.epoch and member.state != UNREVOKED:
            group.start_timer("join", member.id, member.rebalance_timeout_ms)
            raise Refused(ErrorCode.REBALANCE_IN_PROGRESS)
        group.cancel_timer("sync", member.id)
        group.touch(member.id, classic.session_timeout_ms)
        version = subscription_of(classic.protocols).version
        assignment = write_assignment(version, names_of(set(member.assigned), group.topics))
        reply(
            {
                "error_code": ErrorCode.NONE,
                "protocol_type": protocol_type,
                "protocol_name": protocol,
                "assignment": assignment,
            }
        )

    def heartbeat(self, member_id: str, instance_id: str | None, generation: int) -> ErrorCode:
        group = self.group
        member, classic = self._speaking(member_id, instance_id)
        if generation != member.epoch:
            raise Refused(ErrorCode.ILLEGAL_GENERATION)
        group.touch(member.id, classic.session_timeout_ms)
        more_to_come = member.epoch < group.state_of.epoch or member.state == UNREVOKED
        if more_to_come or (member.state == UNRELEASED and not self._waits(member)):
            group.start_timer("join", member.id, member.rebalance_timeout_ms)
            return ErrorCode.REBALANCE_IN_PROGRESS
        return ErrorCode.NONE

    def _waits(self, member: ConsumerMember) -> bool:
        """Whether something that the member is to have is still another's."""
        missing = self.group.state_of.target.get(member.id, frozenset()) - member.assigned.keys()
        return any(self.group.state_of.is_held(partition) for partition in missing)

    def leaving(self, member_id: str, instance_id: str | None) -> ConsumerMember:
        """The member that is to be removed, of either protocol: administrators remove members by this request, too.

        A static one may be named by its instance id alone.
        """
        if instance_id is not None and not member_id:
            member_id = self.group.state_of.static.get(instance_id, "")
        return self.group.member(member_id, instance_id)
