"""What configuration forbids: groups that are full, and changes of the protocol."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.broker.config import BrokerConfig
from ottla.broker.groups.consumer.group import ConsumerGroup
from ottla.broker.groups.consumer.member import Heartbeat
from ottla.broker.groups.group import Group
from ottla.broker.groups.member import JoinRequest
from ottla.broker.groups.refusal import Refused
from ottla.broker.wire.errors import ErrorCode
from ottla.errors import ConfigurationError
from tests.broker.groups.subscriptions import write_subscription
from tests.broker.groups.world import World


def beat(world: World, member: str, epoch: int = 0) -> None:
    full: dict[str, Any] = {}
    if epoch == 0:
        full = {"rebalance_timeout_ms": 1000, "topics": ("orders",), "owned": frozenset()}
    world.coordinator.requests.consumer_heartbeat("g", Heartbeat(member, epoch, **full), lambda answer: None)


def join(world: World, member: str = "") -> dict[str, Any]:
    metadata = write_subscription(["orders"], {})
    request = JoinRequest(member, None, "c", "/h", 10_000, 10_000, "consumer", [("range", metadata)], False)
    answers: list[dict[str, Any]] = []
    world.coordinator.requests.join("g", request, answers.append)
    return answers[0] if answers else {}


def refusal(what: Any, *arguments: Any) -> ErrorCode:
    with pytest.raises(Refused) as refused:
        what(*arguments)
    return refused.value.code


def test_a_full_consumer_group_takes_nobody_in_but_keeps_who_is_there() -> None:
    world = World(group_consumer_max_size=1)
    beat(world, "a")
    assert refusal(beat, world, "b") == ErrorCode.GROUP_MAX_SIZE_REACHED
    assert refusal(join, world) == ErrorCode.GROUP_MAX_SIZE_REACHED
    beat(world, "a", 2)
    world.close()


def test_a_full_classic_group_takes_nobody_in() -> None:
    world = World(group_max_size=1)
    joined = join(world)
    assert joined["error_code"] == ErrorCode.NONE
    refused = join(world)
    assert (refused["error_code"], refused["member_id"]) == (ErrorCode.GROUP_MAX_SIZE_REACHED, "")
    assert join(world, joined["member_id"])["error_code"] == ErrorCode.NONE
    world.close()


def test_a_classic_group_with_too_many_members_stays_classic() -> None:
    world = World(group_consumer_max_size=1)
    first = join(world)
    join(world)
    join(world, first["member_id"])
    assert refusal(beat, world, "a") == ErrorCode.GROUP_ID_NOT_FOUND
    assert isinstance(world.coordinator.groups["g"], Group)
    world.close()


@pytest.mark.parametrize(
    ("policy", "upgrades", "takes_in", "downgrades"),
    [
        ("bidirectional", True, True, True),
        ("upgrade", True, True, False),
        ("downgrade", False, True, True),
        ("disabled", False, False, False),
    ],
)
def test_the_migration_policy_says_which_way_groups_change(
    policy: str, upgrades: bool, takes_in: bool, downgrades: bool
) -> None:
    world = World(group_consumer_migration_policy=policy)
    join(world)
    if upgrades:
        beat(world, "a")
    else:
        assert refusal(beat, world, "a") == ErrorCode.GROUP_ID_NOT_FOUND
    world.close()

    world = World(group_consumer_migration_policy=policy)
    beat(world, "a")
    if not takes_in:
        assert refusal(join, world) == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    else:
        assert join(world)["error_code"] == ErrorCode.NONE
        world.coordinator.requests.consumer_leave("g", "a", None, -1, lambda: None)
        kind = Group if downgrades else ConsumerGroup
        assert isinstance(world.coordinator.groups["g"], kind)
        before = type(world.coordinator.groups["g"])
        world.restart()
        assert type(world.coordinator.groups["g"]) is before
    world.close()


def test_a_pattern_matches_only_what_its_member_may_see() -> None:
    world = World()
    for name in ("orders", "secret"):
        world.topics.create(name, 1)
    given: list[Any] = []
    joining = Heartbeat(
        "a", 0, rebalance_timeout_ms=1, regex=".*", owned=frozenset(), may_see=lambda name: name != "secret"
    )
    world.coordinator.requests.consumer_heartbeat("g", joining, given.append)
    assert given[0].assignment == {(world.topics.topics["orders"].id, 0)}
    world.close()


def test_settings_that_contradict_each_other_are_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError) as refused:
        BrokerConfig(
            group_consumer_session_timeout_ms=10,
            group_consumer_heartbeat_interval_ms=20_000,
            group_consumer_max_size=0,
            group_consumer_assignors="uniform,best",
            group_consumer_migration_policy="maybe",
        )
    for fault in ("session_timeout_ms", "heartbeat_interval_ms", "max_size", "'uniform,best'", "migration_policy"):
        assert fault in str(refused.value)
