"""What a start makes of a journal that ends in the middle of a group's change."""

from __future__ import annotations

from ottla.broker.groups.consumer.group import ConsumerGroup
from ottla.broker.groups.consumer.member import Heartbeat
from tests.broker.groups.world import World


def state(world: World) -> list[str]:
    group = world.coordinator.groups.get("g")
    return [repr(entry) for entry in group.state_of.snapshot()] if isinstance(group, ConsumerGroup) else []


def test_a_change_is_there_as_a_whole_or_not_at_all() -> None:
    world = World()
    try:
        world.topics.create("orders", 4)
        states = [state(world)]
        path = world.coordinator.journal.path
        sizes = [path.stat().st_size]
        beats = [
            Heartbeat("a", 0, rebalance_timeout_ms=1000, topics=("orders",), owned=frozenset()),
            Heartbeat("b", 0, rebalance_timeout_ms=1000, topics=("orders",), owned=frozenset()),
            Heartbeat("a", 2),
            Heartbeat("a", 2, owned=frozenset()),
            Heartbeat("b", 3),
        ]
        for beat in beats:
            world.coordinator.requests.consumer_heartbeat("g", beat, lambda answer: None)
            states.append(state(world))
            sizes.append(path.stat().st_size)
        written = path.read_bytes()
        for length in sorted({*range(sizes[0], len(written), 17), *sizes}):
            path.write_bytes(written[:length])
            world.restart()
            whole = max(number for number, size in enumerate(sizes) if size <= length)
            assert state(world) == states[whole], length
    finally:
        world.close()
