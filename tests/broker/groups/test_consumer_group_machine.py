"""Histories of a consumer group (KIP-848), made up by hypothesis: members of both protocols come, go and crash."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ottla.broker.config import BrokerConfig
from ottla.broker.groups.committer import Committer
from ottla.broker.groups.consumer.classic_members import ids_of, names_of
from ottla.broker.groups.consumer.group import Answer, ConsumerGroup
from ottla.broker.groups.consumer.member import Heartbeat, IdPartition
from ottla.broker.groups.consumer_protocol import read_assignment
from ottla.broker.groups.member import JoinRequest
from ottla.broker.groups.refusal import Refused
from ottla.broker.wire.errors import ErrorCode
from tests.broker.groups.subscriptions import write_subscription
from tests.broker.groups.world import EXAMPLES, World

GROUP = "g"
SESSION_S = 45.0
REBALANCE_MS = 20_000
GONE = (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.FENCED_INSTANCE_ID)
NAMES = ("orders", "payments", "stock")
numbers = itertools.count()
which = st.integers(0, 1_000_000)
subscriptions = st.sets(st.sampled_from(NAMES), min_size=1)


@dataclass
class Client:
    """A member as it sees itself. It reads what it owns; `owned` changes only when it has heard so."""

    id: str
    topics: set[str]
    regex: str = ""
    instance: str | None = None
    assignor: str | None = None
    epoch: int = 0
    owned: frozenset[IdPartition] = frozenset()
    told: frozenset[IdPartition] = frozenset()  # what it shall own; it may take its time to give up the rest
    says_all: bool = True


@dataclass
class OldClient:
    """A member that speaks the classic protocol, cooperatively or eagerly."""

    eager: bool
    topics: set[str]
    id: str = ""
    generation: int = -1
    owned: frozenset[IdPartition] = frozenset()
    must_join: bool = True
    protocols: list[tuple[str, bytes]] = field(default_factory=list)


class ConsumerGroupMachine(RuleBasedStateMachine):
    """Everything that can happen to a group, and what must hold whatever happens."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.clients: list[Client] = []
        self.old: list[OldClient] = []
        self.epochs: dict[str, int] = {}
        self.group_epoch = 0
        self.world.topics.create("orders", 3)

    def teardown(self) -> None:
        self.settle()
        self.world.close()

    @property
    def group(self) -> ConsumerGroup | None:
        group = self.world.coordinator.groups.get(GROUP)
        return group if isinstance(group, ConsumerGroup) else None

    @initialize(policy=st.sampled_from(["bidirectional", "upgrade"]))
    def begins(self, policy: str) -> None:
        self.world.config = BrokerConfig(group_consumer_migration_policy=policy)
        self.world.restart()

    # Members of the new protocol

    @rule(topics=subscriptions, static=st.booleans(), assignor=st.sampled_from([None, "range", "uniform"]))
    def joins(self, topics: set[str], static: bool, assignor: str | None) -> None:
        number = next(numbers)
        client = Client(f"m{number}", topics, instance=f"i{number}" if static else None, assignor=assignor)
        if self.beats(client):
            self.clients.append(client)

    @rule(pattern=st.sampled_from(["o.*", ".*", "(stock|orders)", "nothing"]))
    def joins_by_pattern(self, pattern: str) -> None:
        client = Client(f"m{next(numbers)}", set(), regex=pattern)
        if self.beats(client):
            self.clients.append(client)

    def beats(self, client: Client, *, heard: bool = True) -> bool:
        """One heartbeat; says whether it was accepted. What is not heard has happened all the same."""
        joining = client.epoch == 0
        if joining:
            client.owned = client.told = frozenset()
        full = joining or client.says_all
        beat = Heartbeat(
            client.id,
            client.epoch,
            instance_id=client.instance,
            rebalance_timeout_ms=REBALANCE_MS if full else -1,
            topics=tuple(client.topics) if full else None,
            regex=client.regex if full and client.regex else None,
            assignor=client.assignor,
            owned=client.owned if full else None,
        )
        answers: list[Answer] = []
        try:
            self.world.coordinator.requests.consumer_heartbeat(GROUP, beat, answers.append)
        except Refused as refused:
            if refused.code not in (*GONE, ErrorCode.FENCED_MEMBER_EPOCH, ErrorCode.UNRELEASED_INSTANCE_ID):
                raise
            # It gives up everything, and will join again.
            client.epoch, client.owned, client.told, client.says_all = 0, frozenset(), frozenset(), True
            return False
        if not heard:
            client.says_all = True
            return True
        (answer,) = answers
        client.epoch = answer.epoch
        if answer.assignment is not None:
            client.told = answer.assignment
            client.owned = client.owned & client.told if client.owned - client.told else client.told
            client.says_all = True
        else:
            client.says_all = False
        return True

    @precondition(lambda self: self.clients)
    @rule(number=which, heard=st.booleans(), everything=st.booleans())
    def heartbeats(self, number: int, heard: bool, everything: bool) -> None:
        client = self.clients[number % len(self.clients)]
        client.says_all |= everything
        client.owned = client.told
        self.beats(client, heard=heard)

    @precondition(lambda self: self.clients)
    @rule(number=which)
    def is_slow_to_give_back(self, number: int) -> None:
        """It was told what to own, and says that it owns what it always did."""
        client = self.clients[number % len(self.clients)]
        owned = client.owned
        client.says_all = True
        if self.beats(client):
            # Had it been told to give something back, it goes on reading that for a while.
            client.owned = client.owned | (owned if client.epoch else frozenset())

    @precondition(lambda self: self.clients)
    @rule(number=which, topics=subscriptions)
    def changes_its_mind(self, number: int, topics: set[str]) -> None:
        client = self.clients[number % len(self.clients)]
        client.topics, client.says_all, client.owned = topics, True, client.told
        self.beats(client)

    @precondition(lambda self: self.clients)
    @rule(number=which)
    def leaves(self, number: int) -> None:
        client = self.clients.pop(number % len(self.clients))
        self.goes(client, -1)

    @precondition(lambda self: any(client.instance for client in self.clients))
    @rule(number=which, returns=st.booleans())
    def is_restarted(self, number: int, returns: bool) -> None:
        """A static member goes for a while, and comes back with a new id, or never does."""
        static = [client for client in self.clients if client.instance]
        client = static[number % len(static)]
        self.clients.remove(client)
        self.goes(client, -2)
        fresh = Client(f"m{next(numbers)}", client.topics, instance=client.instance)
        if returns and self.beats(fresh):
            self.clients.append(fresh)

    def goes(self, client: Client, epoch: int) -> None:
        try:
            self.world.coordinator.requests.consumer_leave(GROUP, client.id, client.instance, epoch, lambda: None)
        except Refused as refused:
            if refused.code not in GONE:
                raise
        self.epochs.pop(client.id, None)

    @precondition(lambda self: self.clients)
    @rule(number=which)
    def crashes(self, number: int) -> None:
        self.clients.pop(number % len(self.clients))

    # Members of the classic protocol

    @rule(topics=subscriptions, eager=st.booleans())
    def an_old_one_joins(self, topics: set[str], eager: bool) -> None:
        client = OldClient(eager, topics)
        self.joins_classically(client)
        if client.id:
            self.old.append(client)

    def joins_classically(self, client: OldClient) -> None:
        if client.eager:
            client.owned = frozenset()
        owned = names_of(client.owned, self.world.topics)
        metadata = write_subscription(sorted(client.topics), owned)
        request = JoinRequest(
            client.id, None, "old", "/host", 10_000, REBALANCE_MS, "consumer", [("range", metadata)], False
        )
        answers: list[dict[str, Any]] = []
        try:
            self.world.coordinator.requests.join(GROUP, request, answers.append)
        except Refused as refused:
            if refused.code != ErrorCode.UNKNOWN_MEMBER_ID:
                raise
            client.id, client.owned, client.must_join = "", frozenset(), True
            return
        if not answers or answers[0]["error_code"]:
            # A classic group that waits for others: this test is about consumer groups.
            client.id, client.owned, client.must_join = "", frozenset(), True
            return
        client.id, client.generation = answers[0]["member_id"], answers[0]["generation_id"]
        client.must_join = False
        self.syncs(client)

    def syncs(self, client: OldClient) -> None:
        answers: list[dict[str, Any]] = []
        requests = self.world.coordinator.requests
        try:
            requests.sync(GROUP, client.id, None, client.generation, "consumer", "range", {}, answers.append)
        except Refused as refused:
            self.stumbles(client, refused.code)
            return
        if answers and not answers[0]["error_code"]:
            client.owned = ids_of(read_assignment(answers[0]["assignment"]), self.world.topics)

    def stumbles(self, client: OldClient, code: ErrorCode) -> None:
        client.must_join = True
        if code != ErrorCode.REBALANCE_IN_PROGRESS:
            client.owned = frozenset()
        if code == ErrorCode.UNKNOWN_MEMBER_ID:
            client.id = ""

    @precondition(lambda self: self.old)
    @rule(number=which)
    def an_old_one_heartbeats(self, number: int) -> None:
        self.lives(self.old[number % len(self.old)])

    def lives(self, client: OldClient) -> None:
        if not client.must_join:
            try:
                code = self.world.coordinator.requests.classic_heartbeat(GROUP, client.id, None, client.generation)
            except Refused as refused:
                code = refused.code
            if code:
                self.stumbles(client, code)
        if client.must_join:
            self.joins_classically(client)

    @precondition(lambda self: self.old)
    @rule(number=which)
    def an_old_one_leaves(self, number: int) -> None:
        client = self.old.pop(number % len(self.old))
        try:
            self.world.coordinator.requests.leave(GROUP, [(client.id, None)], lambda codes: None)
        except Refused as refused:
            if refused.code != ErrorCode.UNKNOWN_MEMBER_ID:
                raise

    @precondition(lambda self: self.old)
    @rule(number=which)
    def an_old_one_crashes(self, number: int) -> None:
        self.old.pop(number % len(self.old))

    # The world around them

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 21.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @rule()
    def a_session_passes_in_silence(self) -> None:
        self.world.clock.advance(SESSION_S + 1)

    @rule(name=st.sampled_from(NAMES), partitions=st.integers(1, 5))
    def a_topic_comes_or_grows(self, name: str, partitions: int) -> None:
        if name in self.world.topics.topics:
            self.world.topics.grow(name)
        else:
            self.world.topics.create(name, partitions)

    @rule(name=st.sampled_from(NAMES))
    def a_topic_goes(self, name: str) -> None:
        if name in self.world.topics.topics:
            self.world.topics.delete(name)

    @rule()
    def the_broker_restarts(self) -> None:
        before = self.state()
        self.world.restart()
        assert self.state() == before

    @rule()
    def the_journal_is_written_anew(self) -> None:
        self.world.coordinator.journal.compact()
        before = self.state()
        self.world.restart()
        assert self.state() == before

    def state(self) -> list[Any]:
        group = self.group
        if group is None:
            return []
        entries = [repr(entry) for entry in group.state_of.snapshot() if entry[0] != "ct"]
        targets = {name: parts for name, parts in group.state_of.target.items() if parts}
        return [sorted(entries), targets, dict(group.state_of.holders), dict(group.state_of.static)]

    @precondition(lambda self: self.clients)
    @rule(number=which, kind=st.sampled_from(["heartbeat", "leave", "join"]))
    def the_disk_is_full(self, number: int, kind: str) -> None:
        """What cannot be written down has not happened."""
        client = self.clients[number % len(self.clients)]
        before = self.state()
        journal = self.world.coordinator.journal
        append = journal.append

        def full(*entries: Any) -> None:
            raise OSError(28, "No space left on device")

        journal.append = full  # type: ignore[method-assign]
        epoch = {"heartbeat": client.epoch, "leave": -1, "join": 0}[kind]
        beat = Heartbeat(
            client.id, epoch, client.instance, None, REBALANCE_MS, ("stock", "new"), owned=frozenset(client.owned)
        )
        requests = self.world.coordinator.requests
        try:
            if kind == "leave":
                requests.consumer_leave(GROUP, client.id, client.instance, -1, lambda: None)
            else:
                requests.consumer_heartbeat(GROUP, beat, lambda answer: None)
        except Refused:
            pass
        except OSError:
            pass
        finally:
            journal.append = append  # type: ignore[method-assign]
        assert self.state() == before

    # What must hold

    @invariant()
    def a_partition_has_one_owner(self) -> None:
        group = self.group
        if group is None:
            return
        held = [partition for member in group.members.values() for partition in member.held]
        assert len(held) == len(set(held))
        assert set(held) == set(group.state_of.holders)

    @invariant()
    def nobody_reads_what_the_broker_thinks_free(self) -> None:
        group = self.group
        for client in self.clients:
            member = group.members.get(client.id) if group else None
            if member is not None and client.epoch > 0:
                assert client.owned <= member.held, (client, member)
        for old in self.old:
            member = group.members.get(old.id) if group else None
            if member is not None and not old.must_join and member.epoch == old.generation:
                # A topic that was deleted has no name, by which alone such a member knows it.
                assert {part for part in old.owned if part[0] in self.world.topics.by_id} <= member.held

    @invariant()
    def epochs_only_grow(self) -> None:
        group = self.group
        if group is None:
            self.group_epoch = 0
            self.epochs.clear()
            return
        assert group.state_of.epoch >= self.group_epoch
        assert group.state_of.assignment_epoch <= group.state_of.epoch
        self.group_epoch = group.state_of.epoch
        for member in group.members.values():
            if member.epoch > 0:
                assert member.epoch >= self.epochs.get(member.id, 0)
                assert member.epoch <= group.state_of.epoch
                self.epochs[member.id] = member.epoch

    @invariant()
    def only_owners_commit(self) -> None:
        group = self.group
        everything = [(t.id, index) for t in self.world.topics.topics.values() for index in t.partitions]
        for client in self.clients:
            if client.epoch == 0:
                continue
            try:
                check = self.world.coordinator.check_commit(GROUP, Committer(client.id, client.instance, client.epoch))
            except Refused:
                continue
            assert group is not None
            member = group.members[client.id]
            if client.epoch < member.epoch:
                may = {partition for partition in everything if check(partition) is None}
                assert may <= member.held
                assert all({**member.assigned, **member.revoking}[partition] <= client.epoch for partition in may)

    def settle(self) -> None:
        """Whatever has happened: if everybody behaves from now on, all is shared out, and fairly."""
        # Whoever has crashed is noticed in time; whoever is alive says so meanwhile.
        for _ in range(60):
            for client in self.clients:
                client.owned = client.told
                self.beats(client)
            for old in self.old:
                self.lives(old)
            self.world.clock.advance(2.0)
        group = self.group
        if group is None or not group.members:
            return
        alive = {client.id for client in self.clients} | {old.id for old in self.old}
        assert set(group.members) <= alive
        if self.clients:
            assert group.state == "Stable", group.members
            assert set(group.members) == alive
        shares = [client.owned for client in self.clients] + [old.owned for old in self.old]
        wanted = [group.subscriptions.ids_of(group.members[c.id]) for c in self.clients]
        topics = self.world.topics
        wanted += [frozenset(topics.topics[n].id for n in old.topics if n in topics.topics) for old in self.old]
        owned = [partition for share in shares for partition in share]
        assert len(owned) == len(set(owned)), "a partition with two owners"
        ids = set().union(*wanted)
        assert set(owned) == {(topic, index) for topic in ids for index in topics.by_id[topic].partitions}
        for share, allowed in zip(shares, wanted, strict=True):
            assert {topic for topic, _ in share} <= allowed
        if group.assignor == "uniform" and len(set(wanted)) == 1:
            sizes = [len(share) for share in shares]
            assert max(sizes) - min(sizes) <= 1


TestConsumerGroups = ConsumerGroupMachine.TestCase
TestConsumerGroups.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
