"""Contract: the group protocol step by step, with requests made by hand."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest

from ottla.testing import Broker
from tests.contracts import wire
from tests.contracts.wire import Connection, array, blob, string

# A consumer's subscription (version 0) to no topic. Apache Kafka reads it, and never answers if it cannot.
SUBSCRIPTION = struct.pack(">h", 0) + array([]) + blob(None)


@pytest.fixture
def connection(broker: Broker, group_name: str) -> Connection:
    """A connection to the group's coordinator, which may still be loading just after the broker's start."""
    opened = Connection(broker)
    for _ in range(200):
        answer = opened.ask(wire.FIND_COORDINATOR, 2, string(group_name) + b"\x00")
        answer.int32()
        if answer.int16() == wire.NONE and heartbeat(opened, group_name) == wire.UNKNOWN_MEMBER_ID:
            return opened
    raise AssertionError("no coordinator")


@dataclass(frozen=True)
class Joined:
    error: int
    generation: int
    protocol: str | None
    leader: str | None
    member: str
    members: list[str | None]


def join(
    connection: Connection,
    group: str,
    member: str = "",
    *,
    instance: str | None = None,
    session_timeout_ms: int = 10_000,
    protocols: tuple[str, ...] = ("range",),
    protocol_type: str = "consumer",
) -> Joined:
    body = string(group) + struct.pack(">ii", session_timeout_ms, 10_000) + string(member) + string(instance)
    body += string(protocol_type) + array([string(name) + blob(SUBSCRIPTION) for name in protocols])
    answer = connection.ask(wire.JOIN_GROUP, 5, body)
    answer.int32()
    error, generation = answer.int16(), answer.int32()
    protocol, leader, own = answer.string(), answer.string(), answer.string()
    members = []
    for _ in range(answer.int32()):
        members.append(answer.string())
        answer.string(), answer.bytes()
    return Joined(error, generation, protocol, leader, own or "", members)


def join_as_new(connection: Connection, group: str, **options: object) -> Joined:
    first = join(connection, group, **options)  # type: ignore[arg-type]
    assert first.error == wire.MEMBER_ID_REQUIRED
    return join(connection, group, first.member, **options)  # type: ignore[arg-type]


def sync(
    connection: Connection, group: str, generation: int, member: str, assignments: dict[str, bytes] | None = None
) -> tuple[int, bytes | None]:
    body = string(group) + struct.pack(">i", generation) + string(member) + string(None)
    body += array([string(name) + blob(assignment) for name, assignment in (assignments or {}).items()])
    answer = connection.ask(wire.SYNC_GROUP, 3, body)
    answer.int32()
    return answer.int16(), answer.bytes()


def heartbeat(connection: Connection, group: str, generation: int = 1, member: str = "nobody") -> int:
    body = string(group) + struct.pack(">i", generation) + string(member) + string(None)
    answer = connection.ask(wire.HEARTBEAT, 3, body)
    answer.int32()
    return answer.int16()


def leave(connection: Connection, group: str, member: str) -> int:
    answer = connection.ask(wire.LEAVE_GROUP, 2, string(group) + string(member))
    answer.int32()
    return answer.int16()


def commit(connection: Connection, group: str, topic: str, generation: int, member: str) -> int:
    partitions = array([struct.pack(">iqi", 0, 5, -1) + string("")])
    body = string(group) + struct.pack(">i", generation) + string(member) + string(None)
    answer = connection.ask(wire.OFFSET_COMMIT, 7, body + array([string(topic) + partitions]))
    answer.int32(), answer.int32(), answer.string(), answer.int32(), answer.int32()
    return answer.int16()


@pytest.fixture
def stable(connection: Connection, group_name: str) -> Joined:
    """The only member of a stable group."""
    joined = join_as_new(connection, group_name)
    assert sync(connection, group_name, joined.generation, joined.member, {joined.member: b"all"}) == (0, b"all")
    return joined


def test_the_coordinator_of_a_group_is_the_broker_itself(
    broker: Broker, connection: Connection, group_name: str
) -> None:
    answer = connection.ask(wire.FIND_COORDINATOR, 2, string(group_name) + b"\x00")
    answer.int32()
    assert answer.int16() == wire.NONE
    answer.string(), answer.int32()
    assert f"{answer.string()}:{answer.int32()}" == broker.bootstrap_servers


def test_a_new_member_is_given_an_id_and_told_to_come_again(connection: Connection, group_name: str) -> None:
    told = join(connection, group_name)
    assert told.error == wire.MEMBER_ID_REQUIRED
    assert told.member


def test_the_first_member_leads_generation_1(connection: Connection, group_name: str) -> None:
    joined = join_as_new(connection, group_name)
    assert (joined.error, joined.generation, joined.protocol) == (wire.NONE, 1, "range")
    assert joined.leader == joined.member
    assert joined.members == [joined.member]


def test_an_assignment_is_given_back_byte_by_byte(connection: Connection, group_name: str) -> None:
    joined = join_as_new(connection, group_name)
    assignment = bytes(range(256))
    answered = sync(connection, group_name, joined.generation, joined.member, {joined.member: assignment})
    assert answered == (wire.NONE, assignment)


def test_a_member_joining_again_asks_for_a_new_generation(
    connection: Connection, group_name: str, stable: Joined
) -> None:
    assert join(connection, group_name, stable.member).generation == stable.generation + 1


def test_the_group_takes_the_protocol_that_all_members_know(
    broker: Broker, connection: Connection, group_name: str, stable: Joined
) -> None:
    with Connection(broker) as other:
        new = join(other, group_name, protocols=("sticky", "range"))
        joining = other.send(wire.JOIN_GROUP, 5, _join_body(group_name, new.member, ("sticky", "range")))
        while heartbeat(connection, group_name, stable.generation, stable.member) != wire.REBALANCE_IN_PROGRESS:
            pass
        again = join(connection, group_name, stable.member)
        assert other.receive()[0] == joining
    assert again.protocol == "range"
    assert sorted(map(str, again.members)) == sorted([stable.member, new.member])


def _join_body(group: str, member: str, protocols: tuple[str, ...]) -> bytes:
    body = string(group) + struct.pack(">ii", 10_000, 10_000) + string(member) + string(None) + string("consumer")
    return body + array([string(name) + blob(SUBSCRIPTION) for name in protocols])


def test_a_member_with_no_protocol_in_common_is_refused(
    broker: Broker, connection: Connection, group_name: str, stable: Joined
) -> None:
    with Connection(broker) as other:
        assert join(other, group_name, protocols=("other",)).error == wire.INCONSISTENT_GROUP_PROTOCOL
        assert join(other, group_name, protocol_type="connect").error == wire.INCONSISTENT_GROUP_PROTOCOL


def test_a_member_without_protocols_is_refused(connection: Connection, group_name: str) -> None:
    assert join(connection, group_name, protocols=()).error == wire.INCONSISTENT_GROUP_PROTOCOL


@pytest.mark.parametrize("session_timeout_ms", [10, 5_999, 1_800_001])
def test_a_session_timeout_outside_the_bounds_is_refused(
    connection: Connection, group_name: str, session_timeout_ms: int
) -> None:
    refused = join(connection, group_name, session_timeout_ms=session_timeout_ms)
    assert refused.error == wire.INVALID_SESSION_TIMEOUT


def test_a_group_needs_a_name(connection: Connection) -> None:
    assert join(connection, "").error == wire.INVALID_GROUP_ID


def test_an_unknown_member_is_told_so(connection: Connection, topic: str, group_name: str, stable: Joined) -> None:
    assert join(connection, group_name, "nobody").error == wire.UNKNOWN_MEMBER_ID
    assert sync(connection, group_name, stable.generation, "nobody")[0] == wire.UNKNOWN_MEMBER_ID
    assert heartbeat(connection, group_name, stable.generation, "nobody") == wire.UNKNOWN_MEMBER_ID
    assert leave(connection, group_name, "nobody") == wire.UNKNOWN_MEMBER_ID
    assert commit(connection, group_name, topic, stable.generation, "nobody") == wire.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize("off_by", [-1, 1])
def test_another_generation_is_illegal(
    connection: Connection, topic: str, group_name: str, stable: Joined, off_by: int
) -> None:
    generation = stable.generation + off_by
    assert sync(connection, group_name, generation, stable.member)[0] == wire.ILLEGAL_GENERATION
    assert heartbeat(connection, group_name, generation, stable.member) == wire.ILLEGAL_GENERATION
    assert commit(connection, group_name, topic, generation, stable.member) == wire.ILLEGAL_GENERATION


def test_a_member_of_the_generation_may_commit(
    connection: Connection, topic: str, group_name: str, stable: Joined
) -> None:
    assert commit(connection, group_name, topic, stable.generation, stable.member) == wire.NONE


def test_a_stable_groups_heartbeat_is_answered_without_error(
    connection: Connection, group_name: str, stable: Joined
) -> None:
    assert heartbeat(connection, group_name, stable.generation, stable.member) == wire.NONE


def test_a_member_that_left_is_unknown(connection: Connection, group_name: str, stable: Joined) -> None:
    assert leave(connection, group_name, stable.member) == wire.NONE
    assert heartbeat(connection, group_name, stable.generation, stable.member) == wire.UNKNOWN_MEMBER_ID


def test_the_group_goes_on_counting_generations_when_all_have_left(
    connection: Connection, group_name: str, stable: Joined
) -> None:
    leave(connection, group_name, stable.member)
    assert join_as_new(connection, group_name).generation > stable.generation


def test_a_static_member_needs_no_second_join(connection: Connection, group_name: str) -> None:
    joined = join(connection, group_name, instance="static-1")
    assert (joined.error, joined.generation) == (wire.NONE, 1)


def test_a_replaced_static_member_is_fenced(broker: Broker, connection: Connection, group_name: str) -> None:
    old = join(connection, group_name, instance="static-1")
    sync(connection, group_name, old.generation, old.member, {old.member: b"all"})
    with Connection(broker) as other:
        new = join(other, group_name, instance="static-1")
        assert new.error == wire.NONE
        assert new.member != old.member
    assert join(connection, group_name, old.member, instance="static-1").error == wire.FENCED_INSTANCE_ID
