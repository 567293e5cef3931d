"""Turning groups of one protocol into groups of the other, members and all.

A classic group becomes a consumer group when the first member of the new protocol joins; a consumer group becomes a
classic one when the last member of the new protocol has gone, and members of the classic one are left. Everybody goes
on reading what it reads.
"""

from __future__ import annotations

from dataclasses import replace

from ottla.broker.groups.consumer.classic_members import ids_of, names_of, subscription_of
from ottla.broker.groups.consumer.group import ConsumerGroup
from ottla.broker.groups.consumer.member import ClassicSide, ConsumerMember, IdPartition
from ottla.broker.groups.consumer_protocol import PROTOCOL_TYPE, Malformed, read_assignment, write_assignment
from ottla.broker.groups.group import STABLE, Group
from ottla.broker.groups.member import Member
from ottla.broker.groups.refusal import Refused
from ottla.broker.wire.errors import ErrorCode


def take_over(group: ConsumerGroup, classic: Group) -> None:
    """Fills a new consumer group with the members of a classic one.

    Raises:
        Refused: GROUP_ID_NOT_FOUND: the members' metadata cannot be read.
    """
    known = group.state_of
    taken: set[IdPartition] = set()
    digest = ""
    for member in classic.members.values():
        try:
            converted = _consumer_member(group, classic, member)
        except Malformed:
            message = (
                f"Cannot upgrade classic group {classic.name} to consumer group because the embedded consumer protocol "
                f"is malformed."
            )
            raise Refused(ErrorCode.GROUP_ID_NOT_FOUND, message) from None
        # A client's own assignor may have given a partition to two; here it can have one owner only.
        assigned = {part: epoch for part, epoch in converted.assigned.items() if part not in taken}
        taken |= assigned.keys()
        known.put(replace(converted, assigned=assigned))
        known.aim({member.id: frozenset(assigned)})
        digest = group.subscriptions.digest(known.members.values())
    known.set_epochs(classic.generation, classic.generation, digest)


def _consumer_member(group: ConsumerGroup, classic: Group, member: Member) -> ConsumerMember:
    subscription = subscription_of(member.protocols)
    assigned = ids_of(read_assignment(member.assignment), group.topics)
    return ConsumerMember(
        member.id,
        instance_id=member.instance_id,
        rack_id=subscription.rack,
        client_id=member.client_id,
        client_host=member.client_host,
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        topics=tuple(sorted(set(subscription.topics))),
        epoch=classic.generation,
        previous_epoch=classic.generation,
        assigned=dict.fromkeys(assigned, classic.generation),
        classic=ClassicSide(member.session_timeout_ms, tuple(member.protocols)),
    )


def hand_back(classic: Group, group: ConsumerGroup, leaving: set[str]) -> None:
    """Fills a new classic group with the members of a consumer group, which all speak the classic protocol."""
    known = group.state_of
    classic.generation = known.epoch
    classic.protocol_type = PROTOCOL_TYPE
    for member in known.members.values():
        if member.id in leaving or member.classic is None:
            continue
        version = subscription_of(member.classic.protocols).version
        target = known.target.get(member.id, frozenset())
        classic.adopt(
            Member(
                member.id,
                member.instance_id,
                member.client_id,
                member.client_host,
                member.classic.session_timeout_ms,
                member.rebalance_timeout_ms,
                list(member.classic.protocols),
                assignment=write_assignment(version, names_of(target, group.topics)),
            )
        )
    classic.state = STABLE
