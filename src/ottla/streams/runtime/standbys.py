"""Where copies of stores are kept warm."""

from __future__ import annotations

from collections.abc import Sequence

from ottla.streams.runtime.group_view import Member
from ottla.streams.runtime.plan import Plan
from ottla.streams.task import TaskId


def standby_places(plan: Plan, members: Sequence[Member], copies: int) -> dict[TaskId, list[Member]]:
    """Where copies of each task's stores belong: every instance works this out for itself from the same view.

    A copy is worth most where the task goes when its instance dies. The sticky assignor gives orphaned partitions, in
    their order, to whoever has fewest, by member id among equals; so does this. Where the view was out of date, a task
    may come to an instance without a copy: it is restored there, and that is all.
    """
    found: dict[TaskId, list[Member]] = {}
    by_id = {member.member_id: member for member in members}
    for dead in members:
        load = {member.member_id: len(member.tokens) for member in members if member is not dead}
        for token in sorted(dead.tokens):
            task = plan.task_of(token)
            if task is None or not load:
                continue
            order = sorted(load, key=lambda member: (load[member], member))
            load[order[0]] += 1
            found[task] = [by_id[member] for member in order[:copies]]
    return found


def wanted_standbys(plan: Plan, members: Sequence[Member], instance_id: str, copies: int) -> list[TaskId]:
    """The tasks this instance keeps copies of."""
    return [
        task
        for task, places in standby_places(plan, members, copies).items()
        if any(member.instance_id == instance_id for member in places)
    ]
