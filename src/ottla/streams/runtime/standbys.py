"""Who is in the group, who runs which task, and where copies of stores are kept warm."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ottla.errors import KafkaError
from ottla.kafka.admin import Admin
from ottla.streams.runtime.plan import Plan
from ottla.streams.task import TaskId

REFRESH_S = 1.0


@dataclass(frozen=True)
class Member:
    """An instance, as the group shows it to everybody.

    Attributes:
        address: `host:port` of its HTTP; None if it serves none.
        tokens: What it is assigned.
    """

    instance_id: str
    member_id: str
    address: str | None
    tokens: tuple[int, ...]


class GroupView:
    """The members of the application's group. Asks the group itself, so there is nothing that could be out of step
    with it. Thread-safe."""

    def __init__(self, admin: Admin, plan: Plan) -> None:
        self._admin = admin
        self._plan = plan
        self._log = logging.getLogger("ottla.streams")
        self._members: list[Member] | None = None
        self._seen_at = 0.0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def now(self) -> list[Member]:
        """The members, asked now.

        Raises:
            BrokerUnavailable, KafkaError: The group cannot be asked.
        """
        application_id = self._plan.topology.application_id
        found = self._admin.describe_group(application_id)
        members = [
            Member(
                instance_id=member.instance_id or member.member_id,
                member_id=member.member_id,
                address=_address(member.client_id, application_id),
                tokens=tuple(partition for topic, partition in member.assignment if topic == self._plan.tokens_topic),
            )
            for member in found.members
        ]
        with self._lock:
            self._members, self._seen_at = members, time.monotonic()
        return members

    def recent(self, max_age_s: float) -> list[Member]:
        """The members, asked not longer ago than that. Raises as `now`."""
        with self._lock:
            if self._members is not None and self._seen_at and time.monotonic() - self._seen_at <= max_age_s:
                return self._members
        return self.now()

    def forget(self) -> None:
        """What is known is out of date."""
        with self._lock:
            self._seen_at = 0.0

    def latest(self) -> list[Member] | None:
        """The members as last seen by a thread that looks now and then, which this starts; None at first."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="ottla-streams-group", daemon=True)
            self._thread.start()
        with self._lock:
            return self._members

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(15)

    def _look(self) -> None:
        while not self._stop.is_set():
            try:
                self.now()
            except KafkaError as error:
                self._log.debug("the group cannot be asked: %s", error)
            self._stop.wait(REFRESH_S)


def _address(client_id: str, application_id: str) -> str | None:
    start = f"{application_id}@"
    return client_id.removeprefix(start) if client_id.startswith(start) else None


def standby_places(plan: Plan, members: Sequence[Member], copies: int) -> dict[TaskId, list[Member]]:
    """Where copies of each task's stores belong: every instance works this out for itself from the same view.

    A copy is worth most where the task goes when its instance dies. The sticky assignor gives orphaned partitions, in
    their order, to whoever has fewest, by member id among equals; so does this.
    """
    found: dict[TaskId, list[Member]] = {}
    for dead in members:
        load = {member.member_id: len(member.tokens) for member in members if member is not dead}
        by_id = {member.member_id: member for member in members}
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
