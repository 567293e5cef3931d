"""The state machine of a consumer group, on a clock that the test moves."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

import pytest

from ottla.broker.groups.committer import Committer
from ottla.broker.groups.group import COMPLETING, EMPTY, PREPARING, STABLE, Group
from ottla.broker.groups.member import JoinRequest
from ottla.broker.groups.refusal import Refused
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Message

RANGE = [("range", b"range-metadata")]


class Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """Time stands still until `advance`."""

    def __init__(self) -> None:
        self.time = 0.0
        self.timers: list[tuple[float, int, Timer]] = []
        self.count = itertools.count()

    def now(self) -> float:
        return self.time

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        heapq.heappush(self.timers, (self.time + seconds, next(self.count), timer))
        return timer

    def advance(self, seconds: float) -> None:
        end = self.time + seconds
        while self.timers and self.timers[0][0] <= end:
            self.time, _, timer = heapq.heappop(self.timers)
            if timer.callback is not None:
                timer.callback()
        self.time = end


class Client:
    """A member as its client sees it: what it was told last."""

    def __init__(self, group: Group, name: str = "client", *, instance: str | None = None) -> None:
        self.group = group
        self.name = name
        self.instance = instance
        self.id = ""
        self.generation = -1
        self.protocols = RANGE
        self.joined: Message | None = None
        self.synced: Message | None = None

    def join(self, *, session_ms: int = 10_000, rebalance_ms: int = 60_000, skips: bool = False) -> Client:
        self.joined = None
        request = JoinRequest(
            self.id,
            self.instance,
            self.name,
            "/host",
            session_ms,
            rebalance_ms,
            "consumer",
            self.protocols,
            True,
            skips,
        )
        self.group.join(request, self._joined)
        if self.joined and self.joined["error_code"] == ErrorCode.MEMBER_ID_REQUIRED:
            return self.join(session_ms=session_ms, rebalance_ms=rebalance_ms)
        return self

    def _joined(self, message: Message) -> None:
        self.joined = message
        self.id = message["member_id"]
        self.generation = message.get("generation_id", -1)

    def sync(self, assignments: dict[str, bytes] | None = None) -> Client:
        self.synced = None
        self.group.sync(
            self.id, self.instance, self.generation, None, None, assignments or {}, lambda m: setattr(self, "synced", m)
        )
        return self

    def heartbeat(self) -> ErrorCode:
        return self.group.heartbeat(self.id, self.instance, self.generation)

    @property
    def leads(self) -> bool:
        return self.joined is not None and self.joined["leader"] == self.id


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def group(clock: ManualClock) -> Group:
    return Group("g", clock, lambda _, done: done())


def commit_fault(group: Group, member_id: str, instance_id: str | None, generation: int) -> ErrorCode | None:
    try:
        return group.check_commit(Committer(member_id, instance_id, generation))((b"", 0))
    except Refused as refusal:
        return refusal.code


def stable(group: Group, *clients: Client) -> None:
    """Brings all clients into one stable generation."""
    for client in clients:
        client.join()
    for client in clients:
        if group.state == PREPARING and client.joined is not None:
            client.join()
    leader = next(client for client in clients if client.leads)
    leader.sync({client.id: client.name.encode() for client in clients})
    for client in clients:
        if client is not leader:
            client.sync()
    assert group.state == STABLE


def test_a_new_member_must_come_back_with_its_id(group: Group) -> None:
    answers: list[Message] = []
    group.join(JoinRequest("", None, "app", "/host", 10_000, 60_000, "consumer", RANGE), answers.append)
    assert answers[0]["error_code"] == ErrorCode.MEMBER_ID_REQUIRED
    assert answers[0]["member_id"].startswith("app-")
    assert group.state == EMPTY


def test_the_first_member_leads_and_gets_its_own_assignment(group: Group) -> None:
    one = Client(group).join()
    assert one.joined is not None
    assert one.joined["generation_id"] == 1
    assert one.leads
    assert [member["metadata"] for member in one.joined["members"]] == [b"range-metadata"]
    one.sync({one.id: b"everything"})
    assert one.synced is not None
    assert one.synced["assignment"] == b"everything"
    assert group.state == STABLE


def test_a_second_member_waits_until_the_first_joins_again(group: Group) -> None:
    one, two = Client(group, "one"), Client(group, "two")
    stable(group, one)
    two.join()
    assert two.joined is None
    assert group.state == PREPARING
    assert one.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
    one.join()
    assert (one.generation, two.generation) == (2, 2)
    assert one.leads
    assert two.joined is not None
    assert two.joined["members"] == []


def test_followers_wait_for_the_leaders_assignment(group: Group) -> None:
    one, two = Client(group, "one"), Client(group, "two")
    stable(group, one)
    two.join()
    one.join()
    two.sync()
    assert two.synced is None
    one.sync({one.id: b"1", two.id: b"2"})
    assert two.synced is not None
    assert two.synced["assignment"] == b"2"


def test_who_does_not_join_again_in_time_is_out(group: Group, clock: ManualClock) -> None:
    one, two = Client(group, "one"), Client(group, "two")
    stable(group, one)
    two.join(rebalance_ms=60_000)
    for _ in range(7):
        clock.advance(9)
        one.heartbeat()
    assert two.generation == 2
    assert list(group.members) == [two.id]
    assert one.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_silent_member_is_out_after_its_session(group: Group, clock: ManualClock) -> None:
    one, two = Client(group, "one"), Client(group, "two")
    stable(group, one, two)
    clock.advance(6)
    assert one.heartbeat() == ErrorCode.NONE
    clock.advance(6)
    assert one.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
    assert list(group.members) == [one.id]


def test_an_id_that_is_never_used_does_not_hold_up_the_group_for_ever(group: Group, clock: ManualClock) -> None:
    one = Client(group, "one")
    answers: list[Message] = []
    group.join(JoinRequest("", None, "ghost", "/host", 10_000, 60_000, "consumer", RANGE), answers.append)
    one.join()
    assert one.joined is None
    clock.advance(10)
    assert one.joined is not None


def test_the_last_one_to_leave_empties_the_group(group: Group) -> None:
    one = Client(group)
    stable(group, one)
    assert group.leave([(one.id, None)])[0] == ErrorCode.NONE
    assert group.state == EMPTY
    assert group.generation == 2


def test_leaving_makes_the_others_rebalance_at_once(group: Group) -> None:
    one, two = Client(group, "one"), Client(group, "two")
    stable(group, one, two)
    assert group.leave([(one.id, None)])[0] == ErrorCode.NONE
    assert two.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
    two.join()
    assert two.leads


def test_an_old_generation_is_told_so(group: Group) -> None:
    one = Client(group)
    stable(group, one)
    one.generation = 0
    assert one.heartbeat() == ErrorCode.ILLEGAL_GENERATION
    one.sync()
    assert one.synced == {"error_code": ErrorCode.ILLEGAL_GENERATION}
    assert commit_fault(group, one.id, None, 0) == ErrorCode.ILLEGAL_GENERATION


def test_members_without_a_common_assignor_cannot_join(group: Group) -> None:
    one, two = Client(group, "one"), Client(group, "two")
    stable(group, one)
    two.protocols = [("sticky", b"")]
    two.join()
    assert two.joined is not None
    assert two.joined["error_code"] == ErrorCode.INCONSISTENT_GROUP_PROTOCOL


def test_the_assignor_most_members_prefer_of_those_all_know_is_taken(group: Group) -> None:
    clients = [Client(group, str(number)) for number in range(3)]
    clients[0].protocols = [("a", b""), ("b", b"")]
    clients[1].protocols = [("b", b""), ("a", b"")]
    clients[2].protocols = [("c", b""), ("b", b""), ("a", b"")]
    stable(group, *clients)
    assert group.protocol == "b"


def test_a_cooperative_member_that_changes_its_metadata_makes_a_rebalance(group: Group) -> None:
    one, two = Client(group, "one"), Client(group, "two")
    stable(group, one, two)
    follower = two if one.leads else one
    leader = one if one.leads else two
    follower.protocols = [("range", b"revoked some")]
    follower.join()
    assert leader.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
    leader.join()
    assert leader.joined is not None
    assert b"revoked some" in [member["metadata"] for member in leader.joined["members"]]


def test_a_follower_that_joins_again_unchanged_disturbs_nobody(group: Group) -> None:
    one, two = Client(group, "one"), Client(group, "two")
    stable(group, one, two)
    follower = two if one.leads else one
    generation = group.generation
    follower.join()
    assert group.state == STABLE
    assert follower.generation == generation


def test_a_leader_that_joins_again_makes_a_rebalance(group: Group) -> None:
    one, two = Client(group, "one"), Client(group, "two")
    stable(group, one, two)
    (one if one.leads else two).join()
    assert group.state == PREPARING


def test_a_leader_that_never_syncs_is_out(group: Group, clock: ManualClock) -> None:
    one, two = Client(group, "one"), Client(group, "two")
    one.join(session_ms=1_000_000)
    two.join(session_ms=1_000_000)
    one.join(session_ms=1_000_000)
    assert group.state == COMPLETING
    follower = two if one.leads else one
    follower.sync()
    clock.advance(61)
    assert follower.synced == {"error_code": ErrorCode.REBALANCE_IN_PROGRESS}
    assert list(group.members) == [follower.id]


def test_an_assignment_that_becomes_durable_too_late_is_void(clock: ManualClock) -> None:
    waiting: list[Callable[[], None]] = []
    group = Group("g", clock, lambda _, done: waiting.append(done))
    one = Client(group, "one").join()
    one.sync({one.id: b"all"})
    assert one.synced is None
    two = Client(group, "two").join()
    assert one.synced == {"error_code": ErrorCode.REBALANCE_IN_PROGRESS}
    waiting[0]()
    assert group.state == PREPARING
    assert two.joined is None


def test_a_static_member_that_restarts_keeps_its_place_without_a_rebalance(group: Group) -> None:
    one, two = Client(group, "one", instance="i1"), Client(group, "two", instance="i2")
    stable(group, one, two)
    follower = two if one.leads else one
    generation = group.generation
    again = Client(group, follower.name, instance=follower.instance).join()
    assert again.generation == generation
    assert again.id != follower.id
    again.sync()
    assert again.synced is not None
    assert again.synced["assignment"] == follower.name.encode()


def test_the_older_of_two_static_members_with_one_name_is_fenced(group: Group) -> None:
    one = Client(group, "one", instance="i1")
    stable(group, one)
    Client(group, "one", instance="i1").join()
    assert one.heartbeat() == ErrorCode.FENCED_INSTANCE_ID
    assert commit_fault(group, one.id, "i1", one.generation) == ErrorCode.FENCED_INSTANCE_ID
    assert group.leave([(one.id, "i1")])[0] == ErrorCode.FENCED_INSTANCE_ID


@pytest.mark.parametrize("skips", [True, False])
def test_a_static_leader_that_restarts_is_not_asked_for_an_assignment(group: Group, skips: bool) -> None:
    one = Client(group, "one", instance="i1")
    stable(group, one)
    again = Client(group, "one", instance="i1").join(skips=skips)
    assert again.joined is not None
    if skips:
        assert again.joined["skip_assignment"]
        assert again.leads
    else:
        assert not again.leads
    again.sync()
    assert again.synced is not None
    assert again.synced["assignment"] == b"one"


def test_a_static_member_is_out_only_when_its_session_ends(group: Group, clock: ManualClock) -> None:
    one = Client(group, "one", instance="i1")
    stable(group, one)
    clock.advance(11)
    assert group.state == EMPTY


def test_a_static_member_may_be_removed_by_its_name_alone(group: Group) -> None:
    one = Client(group, "one", instance="i1")
    stable(group, one)
    assert group.leave([("", "i1")])[0] == ErrorCode.NONE
    assert group.state == EMPTY


def test_a_new_group_can_wait_for_more_members(clock: ManualClock) -> None:
    group = Group("g", clock, lambda _, done: done(), initial_delay_ms=3000)
    one, two = Client(group, "one").join(), Client(group, "two").join()
    assert one.joined is None
    clock.advance(3)
    assert one.joined is None, "somebody came meanwhile, so there may be more"
    clock.advance(3)
    assert (one.generation, two.generation) == (1, 1)


def test_commits_from_outside_are_for_empty_groups_only(group: Group) -> None:
    assert commit_fault(group, "", None, -1) is None
    one = Client(group)
    stable(group, one)
    assert commit_fault(group, "", None, -1) == ErrorCode.UNKNOWN_MEMBER_ID
    assert commit_fault(group, one.id, None, one.generation) is None


def test_members_may_commit_while_a_rebalance_gathers_but_not_while_it_completes(group: Group) -> None:
    one, two = Client(group, "one"), Client(group, "two")
    stable(group, one)
    two.join()
    assert commit_fault(group, one.id, None, one.generation) is None
    one.join()
    assert group.state == COMPLETING
    assert commit_fault(group, one.id, None, one.generation) == ErrorCode.REBALANCE_IN_PROGRESS


def test_a_stored_generation_goes_on_as_if_nothing_had_happened(group: Group, clock: ManualClock) -> None:
    one, two = Client(group, "one"), Client(group, "two", instance="i2")
    stable(group, one, two)
    again = Group("g", clock, lambda _, done: done())
    again.restore(group.snapshot())
    again.resume()
    assert again.heartbeat(one.id, None, one.generation) == ErrorCode.NONE
    assert again.heartbeat(two.id, "i2", two.generation) == ErrorCode.NONE
    two.group = again
    two.sync()
    assert two.synced is not None
    assert two.synced["assignment"] == b"two"
    clock.advance(11)
    assert again.state == EMPTY
