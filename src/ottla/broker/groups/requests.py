"""Which group takes a request: by its name and its kind, made or turned into the other kind where Kafka does so.

- A member of either protocol makes the group it joins, and an empty group becomes one of the protocol of who joins it.
- A member of the new protocol that joins a classic group with members turns it into a consumer group (online upgrade).
- Members of the classic protocol may join a consumer group with members; when only they are left, it becomes a classic
  group (online downgrade).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ottla.broker.groups.consumer.classic_members import ClassicMembers
from ottla.broker.groups.consumer.conversion import hand_back, take_over
from ottla.broker.groups.consumer.group import Answer, ConsumerGroup
from ottla.broker.groups.consumer.member import ConsumerMember, Heartbeat
from ottla.broker.groups.consumer_protocol import PROTOCOL_TYPE
from ottla.broker.groups.group import Group
from ottla.broker.groups.member import JoinRequest, Reply
from ottla.broker.groups.refusal import Refused
from ottla.broker.wire.errors import ErrorCode

if TYPE_CHECKING:
    from ottla.broker.groups.coordinator import Coordinator

logger = logging.getLogger("ottla.broker")

Done = Callable[[], None]
UPGRADES, DOWNGRADES = ("bidirectional", "upgrade"), ("bidirectional", "downgrade")


class GroupRequests:
    """What members send to their group. All methods raise Refused, and OSError when nothing was done."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator = coordinator
        self.config = coordinator.config

    # The classic protocol

    def join(self, name: str, request: JoinRequest, reply: Reply) -> None:
        group = self.coordinator.groups.get(name)
        if isinstance(group, ConsumerGroup) and group.members:
            if self.config.group_consumer_migration_policy == "disabled":
                raise Refused(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, "The group migration is disabled.")
            ClassicMembers(group).join(request, reply)
            return
        if request.member_id and not isinstance(group, Group):
            raise Refused(ErrorCode.UNKNOWN_MEMBER_ID)
        if isinstance(group, ConsumerGroup):
            group.end()
            group = None
        if group is None:
            group = self.coordinator.groups[name] = self.coordinator.new_classic(name)
        group.join(request, reply)

    def sync(
        self,
        name: str,
        member_id: str,
        instance_id: str | None,
        generation: int,
        protocol_type: str | None,
        protocol: str | None,
        assignments: dict[str, bytes],
        reply: Reply,
    ) -> None:
        group = self._existing(name)
        if isinstance(group, ConsumerGroup):
            ClassicMembers(group).sync(member_id, instance_id, generation, protocol_type, protocol, reply)
            return
        group.sync(member_id, instance_id, generation, protocol_type, protocol, assignments, reply)

    def classic_heartbeat(self, name: str, member_id: str, instance_id: str | None, generation: int) -> ErrorCode:
        group = self._existing(name)
        if isinstance(group, ConsumerGroup):
            return ClassicMembers(group).heartbeat(member_id, instance_id, generation)
        return group.heartbeat(member_id, instance_id, generation)

    def leave(self, name: str, members: list[tuple[str, str | None]], done: Callable[[list[ErrorCode]], None]) -> None:
        """Members leave: (member id, instance id) each; `done` gets a code for each."""
        group = self._existing(name)
        if isinstance(group, Group):
            done(group.leave(members))
            return
        codes: list[ErrorCode] = []
        leaving: list[ConsumerMember] = []
        for member_id, instance_id in members:
            try:
                member = ClassicMembers(group).leaving(member_id, instance_id)
                if member not in leaving:
                    leaving.append(member)
                codes.append(ErrorCode.NONE)
            except Refused as refusal:
                codes.append(refusal.code)
        if leaving:
            group.remove(leaving, lambda: done(codes))
        else:
            done(codes)

    def _existing(self, name: str) -> Group | ConsumerGroup:
        group = self.coordinator.groups.get(name)
        if group is None:
            raise Refused(ErrorCode.UNKNOWN_MEMBER_ID, f"Group {name} not found.")
        return group

    # The new protocol

    def consumer_heartbeat(self, name: str, beat: Heartbeat, done: Callable[[Answer], None]) -> None:
        group = self.coordinator.groups.get(name)
        if isinstance(group, ConsumerGroup):
            group.heartbeat(beat, done)
            return
        if group is None and beat.epoch != 0:
            raise Refused(ErrorCode.GROUP_ID_NOT_FOUND, f"Consumer group {name} not found.")
        if beat.epoch != 0:
            raise Refused(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {name} is not a consumer group.")
        fresh = self.coordinator.new_consumer(name)
        self._hook(fresh)
        if group is not None and group.members:
            self._check_upgrade(group)
            take_over(fresh, group)
        fresh.heartbeat(beat, done)
        # Only now, since whatever was refused above has not changed anything.
        self.coordinator.groups[name] = fresh
        if group is not None:
            logger.info("group %s: from the classic to the consumer protocol", name)
            group.end()
            fresh.resume()

    def consumer_leave(self, name: str, member_id: str, instance_id: str | None, epoch: int, done: Done) -> None:
        group = self.coordinator.groups.get(name)
        if group is None:
            raise Refused(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {name} not found.")
        if not isinstance(group, ConsumerGroup):
            raise Refused(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {name} is not a consumer group.")
        group.leave(member_id, instance_id, epoch, done)

    def _check_upgrade(self, group: Group) -> None:
        why = None
        if self.config.group_consumer_migration_policy not in UPGRADES:
            why = "online upgrade is disabled"
        elif group.protocol_type != PROTOCOL_TYPE:
            why = "the group does not use the consumer embedded protocol"
        elif len(group.members) > self.config.group_consumer_max_size:
            why = "the group size exceeds the consumer group maximum size"
        if why:
            message = f"Cannot upgrade classic group {group.name} to consumer group because {why}."
            raise Refused(ErrorCode.GROUP_ID_NOT_FOUND, message)

    def _hook(self, group: ConsumerGroup) -> None:
        group.downgrade = lambda members, done: self._downgrade(group, members, done)

    def resume(self, group: ConsumerGroup) -> None:
        """Takes up a group that was read back from the journal."""
        self._hook(group)
        group.resume()

    def _downgrade(self, group: ConsumerGroup, leaving: list[ConsumerMember], done: Done) -> bool:
        """Makes a consumer group a classic one, if only members of the classic protocol are left. Raises OSError."""
        gone = {member.id for member in leaving}
        left = [member for member in group.members.values() if member.id not in gone]
        if not left or any(member.classic is None for member in left):
            return False
        if self.config.group_consumer_migration_policy not in DOWNGRADES or len(left) > self.config.group_max_size:
            return False
        classic = self.coordinator.new_classic(group.name)
        hand_back(classic, group, gone)
        self.coordinator.store_classic(classic, done)
        logger.info("group %s: from the consumer to the classic protocol", group.name)
        group.end()
        self.coordinator.groups[group.name] = classic
        if leaving:
            classic.rebalance()
        return True
