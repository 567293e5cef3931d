"""Histories of a group of the classic protocol, made up by hypothesis: members come, go, crash, and are too late."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ottla.broker.config import BrokerConfig
from ottla.broker.groups.committer import Committer
from ottla.broker.groups.group import COMPLETING, DEAD, EMPTY, PREPARING, STABLE, Group
from ottla.broker.groups.member import JoinRequest
from ottla.broker.groups.refusal import Refused
from ottla.broker.wire.errors import ErrorCode
from tests.broker.groups.subscriptions import write_subscription
from tests.broker.groups.world import EXAMPLES, World

GROUP = "g"
SESSION_MS, REBALANCE_MS = 10_000, 20_000
PARTITIONS = range(6)
numbers = itertools.count()
which = st.integers(0, 1_000_000)


class Client:
    """A member as it sees itself: what it asked for, and what it was answered."""

    def __init__(self, world: World, instance: str | None, protocols: list[str]) -> None:
        self.world = world
        self.instance = instance
        self.protocols = protocols
        self.id = ""
        self.generation = -1
        self.assigned: bytes | None = None  # what it reads, or None
        self.asked = ""  # what it waits for an answer to
        self.joined: dict[str, Any] | None = None
        self.answers = 0

    def joins(self) -> None:
        self.assigned = None
        metadata = write_subscription(["orders"], {})
        protocols = [(name, metadata) for name in self.protocols]
        request = JoinRequest(
            self.id, self.instance, "client", "/host", SESSION_MS, REBALANCE_MS, "consumer", protocols
        )
        self.asked = "join"
        try:
            self.world.coordinator.requests.join(GROUP, request, self.once(self.join_answered))
        except Refused as refused:
            self.asked = ""
            self.stumbles(refused.code)

    def once(self, answered: Any) -> Any:
        """Hears one answer; a second to the same request would be a fault. Answers of a killed broker are lost."""
        count = itertools.count()
        broker = self.world.coordinator

        def hear(message: dict[str, Any]) -> None:
            assert next(count) == 0, "answered twice"
            if broker is self.world.coordinator:
                answered(message)

        return hear

    def join_answered(self, message: dict[str, Any]) -> None:
        if self.asked != "join":
            return  # it has given up waiting
        self.asked = ""
        if message["error_code"] == ErrorCode.MEMBER_ID_REQUIRED:
            self.id = message["member_id"]
            self.joins()
        elif message["error_code"]:
            self.stumbles(message["error_code"])
        else:
            assert message["generation_id"] > 0
            assert message["protocol_name"] in self.protocols
            self.id, self.generation, self.joined = message["member_id"], message["generation_id"], message

    def syncs(self) -> None:
        assert self.joined is not None
        joined, assignments = self.joined, {}
        if joined["leader"] == self.id and not joined.get("skip_assignment"):
            members = [member["member_id"] for member in joined["members"]]
            for place, member in enumerate(members):
                mine = [p for p in PARTITIONS if p % len(members) == place]
                assignments[member] = json.dumps([self.generation, mine]).encode()
        self.asked = "sync"
        requests = self.world.coordinator.requests
        answer = self.once(self.sync_answered)
        try:
            requests.sync(GROUP, self.id, self.instance, self.generation, None, None, assignments, answer)
        except Refused as refused:
            self.asked = ""
            self.stumbles(refused.code)

    def sync_answered(self, message: dict[str, Any]) -> None:
        if self.asked != "sync":
            return
        self.asked, self.joined = "", None
        if message["error_code"]:
            self.stumbles(message["error_code"])
        else:
            self.assigned = message["assignment"]

    def beats(self) -> None:
        requests = self.world.coordinator.requests
        try:
            code = requests.classic_heartbeat(GROUP, self.id, self.instance, self.generation)
        except Refused as refused:
            code = refused.code
        if code:
            self.stumbles(code)

    def stumbles(self, code: ErrorCode) -> None:
        self.joined = self.assigned = None
        if code in (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID):
            self.id = ""
        if code != ErrorCode.REBALANCE_IN_PROGRESS:
            self.generation = -1

    def gives_up_waiting(self) -> None:
        """Its connection broke: it will ask again."""
        self.asked, self.joined = "", None

    def step(self) -> None:
        """What a client does next."""
        if self.asked:
            return
        if self.joined is not None:
            self.syncs()
        elif self.assigned is not None:
            self.beats()
        if not self.asked and self.joined is None and self.assigned is None:
            self.joins()


class ClassicGroupMachine(RuleBasedStateMachine):
    """Everything that can happen to a group, and what must hold whatever happens."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.clients: list[Client] = []
        self.generation = 0

    @initialize(delay_ms=st.sampled_from([0, 3000]), size_max=st.sampled_from([2, 100]), slow=st.booleans())
    def begins(self, delay_ms: int, size_max: int, slow: bool) -> None:
        self.world.disk_is_slow = slow
        self.world.config = BrokerConfig(group_initial_rebalance_delay_ms=delay_ms, group_max_size=size_max)
        self.world.restart()

    def teardown(self) -> None:
        self.settle()
        self.world.close()

    @property
    def group(self) -> Group | None:
        group = self.world.coordinator.groups.get(GROUP)
        return group if isinstance(group, Group) else None

    @rule(static=st.booleans(), protocols=st.sampled_from([["range"], ["range", "sticky"], ["sticky", "range"]]))
    def a_member_comes(self, static: bool, protocols: list[str]) -> None:
        client = Client(self.world, f"i{next(numbers)}" if static else None, protocols)
        self.clients.append(client)
        client.joins()

    @precondition(lambda self: self.clients)
    @rule(number=which)
    def a_member_goes_on(self, number: int) -> None:
        self.clients[number % len(self.clients)].step()

    @precondition(lambda self: self.clients)
    @rule(number=which)
    def a_member_joins_again(self, number: int) -> None:
        client = self.clients[number % len(self.clients)]
        client.gives_up_waiting()
        client.joins()

    @precondition(lambda self: self.clients)
    @rule(number=which)
    def a_connection_breaks(self, number: int) -> None:
        self.clients[number % len(self.clients)].gives_up_waiting()

    @precondition(lambda self: self.clients)
    @rule(number=which)
    def a_member_crashes(self, number: int) -> None:
        self.clients.pop(number % len(self.clients)).gives_up_waiting()

    @precondition(lambda self: any(client.instance for client in self.clients))
    @rule(number=which)
    def a_static_member_is_restarted(self, number: int) -> None:
        static = [client for client in self.clients if client.instance]
        old = static[number % len(static)]
        old.gives_up_waiting()
        self.clients.remove(old)
        fresh = Client(self.world, old.instance, old.protocols)
        self.clients.append(fresh)
        fresh.joins()

    @precondition(lambda self: self.clients)
    @rule(count=st.integers(1, 3), by_instance=st.booleans())
    def members_leave(self, count: int, by_instance: bool) -> None:
        leaving, self.clients = self.clients[:count], self.clients[count:]
        for client in leaving:
            client.gives_up_waiting()
        names = [("" if by_instance and client.instance else client.id, client.instance) for client in leaving]
        try:
            self.world.coordinator.requests.leave(GROUP, names, lambda codes: None)
        except Refused as refused:
            if refused.code != ErrorCode.UNKNOWN_MEMBER_ID:
                raise

    @rule(seconds=st.sampled_from([0.5, 3.0, 11.0, 21.0, 301.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @rule()
    def the_disk_writes(self) -> None:
        self.world.disk_writes()

    @rule()
    def the_broker_restarts(self) -> None:
        self.world.restart()
        for client in self.clients:
            client.gives_up_waiting()
        # What no leader had handed in an assignment for was never written down: such a generation may come again.
        self.generation = self.group.generation if self.group else 0
        for client in self.clients:
            if client.generation > self.generation:
                client.stumbles(ErrorCode.UNKNOWN_MEMBER_ID)

    @invariant()
    def generations_only_grow(self) -> None:
        group = self.group
        if group is None:
            self.generation = 0
            return
        assert group.generation >= self.generation
        self.generation = group.generation

    @invariant()
    def a_stable_generation_has_one_assignment(self) -> None:
        group = self.group
        if group is None or group.state != STABLE:
            return
        reading: list[int] = []
        for client in self.clients:
            member = group.members.get(client.id)
            if member is None or client.generation != group.generation or not client.assigned:
                continue
            assert client.assigned == member.assignment
            generation, partitions = json.loads(client.assigned)
            assert generation <= group.generation
            reading += partitions
        assert len(reading) == len(set(reading)), "a partition with two owners"

    @invariant()
    def the_state_is_one_that_its_members_explain(self) -> None:
        group = self.group
        if group is None:
            return
        assert group.state != DEAD
        assert (group.state == EMPTY) <= (not group.members)
        joining = [member for member in group.members.values() if member.joining is not None]
        syncing = [member for member in group.members.values() if member.syncing is not None]
        assert not joining or group.state == PREPARING
        assert not syncing or group.state == COMPLETING
        assert len(group.members) <= group.size_max or group.state == PREPARING

    @invariant()
    def only_members_of_the_generation_commit(self) -> None:
        group = self.group
        for client in self.clients:
            try:
                commit = Committer(client.id, client.instance, client.generation)
                # Committing is a sign of life, which this must not be.
                deadline = group.members[client.id].deadline if group and client.id in group.members else 0.0
                self.world.coordinator.check_commit(GROUP, commit)
            except Refused:
                continue
            if client.generation < 0:
                assert group is None or group.state == EMPTY
                continue
            assert group is not None
            assert group.state in (STABLE, PREPARING)
            assert client.generation == group.generation
            group.members[client.id].deadline = deadline

    def settle(self) -> None:
        """Whatever has happened: if everybody behaves from now on, all are in one generation and share everything."""
        self.world.disk_is_slow = False
        self.world.disk_writes()
        for _ in range(80):
            for client in list(self.clients):
                client.step()
            self.world.clock.advance(4.0)
        group = self.group
        if group is None or not self.clients:
            return
        inside = [client for client in self.clients if client.id in group.members]
        assert len(inside) == min(len(self.clients), group.size_max)
        if len(self.clients) > group.size_max:
            return  # those outside keep knocking, and that may keep the others busy
        assert group.state == STABLE
        assert {client.generation for client in inside} == {group.generation}
        shares = [json.loads(client.assigned or b"[0, []]")[1] for client in inside]
        assert sorted(partition for share in shares for partition in share) == list(PARTITIONS)


TestClassicGroups = ClassicGroupMachine.TestCase
TestClassicGroups.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
