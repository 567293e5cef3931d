"""When committed offsets are forgotten: as Kafka does it, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ottla.broker.groups import coordinator as coordinator_module
from ottla.broker.groups.consumer.member import Heartbeat
from ottla.broker.groups.coordinator import Committed
from ottla.broker.groups.member import JoinRequest
from tests.broker.groups.subscriptions import write_subscription
from tests.broker.groups.world import World

KEEP_MS = 10_000


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(offsets_retention_ms=KEEP_MS, group_consumer_max_session_timeout_ms=60_000)
    monkeypatch.setattr(coordinator_module, "now_ms", lambda: round(world.clock.now() * 1000))
    world.topics.create("orders", 1)
    world.topics.create("stock", 1)
    yield world
    world.close()


def commit(world: World, *topics: str) -> None:
    now = round(world.clock.now() * 1000)
    offsets = {(topic, 0): Committed(5, -1, "", now) for topic in topics}
    world.coordinator.commit("g", offsets, lambda: None)


def kept(world: World) -> set[str]:
    world.coordinator.expire_offsets()
    return {topic for topic, _ in world.coordinator.offsets.get("g", {})}


def test_without_a_group_protocol_each_offset_has_its_own_time(world: World) -> None:
    commit(world, "orders")
    world.clock.advance(6)
    commit(world, "stock")
    world.clock.advance(5)
    assert kept(world) == {"stock"}
    world.clock.advance(6)
    assert kept(world) == set()
    assert "g" not in world.coordinator.groups


def beat(world: World, epoch: int) -> None:
    full = {"rebalance_timeout_ms": 1000, "topics": ("orders",), "owned": frozenset()} if epoch == 0 else {}
    world.coordinator.requests.consumer_heartbeat("g", Heartbeat("m", epoch, **full), lambda answer: None)  # type: ignore[arg-type]


def test_what_a_consumer_group_reads_is_kept(world: World) -> None:
    beat(world, 0)
    commit(world, "orders", "stock")
    world.clock.advance(11)
    beat(world, 2)
    assert kept(world) == {"orders"}
    world.coordinator.requests.consumer_leave("g", "m", None, -1, lambda: None)
    assert kept(world) == set()
    assert "g" not in world.coordinator.groups


def join(world: World) -> tuple[str, int]:
    metadata = write_subscription(["orders"], {})
    request = JoinRequest("", None, "c", "/h", 60_000, 60_000, "consumer", [("range", metadata)], False)
    answers: list[dict[str, object]] = []
    world.coordinator.requests.join("g", request, answers.append)
    member, generation = str(answers[0]["member_id"]), int(str(answers[0]["generation_id"]))
    world.coordinator.requests.sync("g", member, None, generation, None, None, {member: b"all"}, answers.append)
    return member, generation


def test_a_classic_groups_offsets_are_kept_until_it_has_been_empty_for_long(world: World) -> None:
    member, generation = join(world)
    commit(world, "orders", "stock")
    world.clock.advance(11)
    world.coordinator.requests.classic_heartbeat("g", member, None, generation)
    assert kept(world) == {"orders"}, "the other topic is not read"
    world.coordinator.requests.leave("g", [(member, None)], lambda codes: None)
    world.clock.advance(9)
    assert kept(world) == {"orders"}
    world.clock.advance(2)
    assert kept(world) == set()


def test_a_group_that_somebody_is_about_to_join_stays(world: World) -> None:
    request = JoinRequest("", None, "c", "/h", 60_000, 60_000, "consumer", [("range", b"")])
    world.coordinator.requests.join("g", request, lambda answer: None)
    assert kept(world) == set()
    assert "g" in world.coordinator.groups
