"""One member's next step towards its target assignment.

    STABLE --a newer target--> has to give something back? --yes--> UNREVOKED --given back--+
       ^                                  | no                                              |
       |                                  v <-----------------------------------------------+
       +--- everything is free --- takes what is free --- something is still others' ---> UNRELEASED

A partition is given to its new owner only after the old one has said that it no longer owns it; until then the new
owner goes on without it, at the new epoch already.
"""

from __future__ import annotations

from collections.abc import Callable, Set

from ottla.broker.groups.consumer.member import STABLE, UNRELEASED, UNREVOKED, ConsumerMember, IdPartition


def reconcile(
    member: ConsumerMember,
    target_epoch: int,
    target: Set[IdPartition],
    owned: Set[IdPartition] | None,
    is_held: Callable[[IdPartition], bool],
) -> ConsumerMember:
    """The member after one step; itself if it cannot move.

    Args:
        member: The member as it is.
        target_epoch: The epoch of the target assignment.
        target: The partitions the member is to have in the end.
        owned: What the member says it owns; None if it does not say.
        is_held: Whether any member holds a partition at present.
    """
    if member.is_at(target_epoch):
        return member
    epoch = member.epoch
    if member.state == UNREVOKED:
        if _still_owns(owned, member.revoking.keys()):
            return member
        epoch += 1
    kept = {partition: since for partition, since in member.assigned.items() if partition in target}
    given_back = {partition: since for partition, since in member.assigned.items() if partition not in target}
    if given_back and _still_owns(owned, given_back.keys()):
        return member.moved(epoch, UNREVOKED, kept, revoking=given_back)
    missing = target - kept.keys()
    free = [partition for partition in missing if not is_held(partition)]
    state = STABLE if len(free) == len(missing) else UNRELEASED
    moved = member.moved(target_epoch, state, {**kept, **dict.fromkeys(free, target_epoch)})
    return member if moved == member else moved


def _still_owns(owned: Set[IdPartition] | None, revoked: Set[IdPartition]) -> bool:
    """Whether the member may still read some of these: also if it does not say."""
    return owned is None or not owned.isdisjoint(revoked)
