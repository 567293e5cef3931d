"""What listeners do in a group of the new consumer protocol (KIP-848), on both brokers."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec

from ottla import App
from ottla.broker.wire.messages.list_groups import LIST_GROUPS
from tests.contracts.asking import Asking
from tests.listeners.harness import World, eventually


def member(world: World, seen: Counter[str]) -> App:
    kafka = world.settings.kafka
    properties = {**kafka.properties, "group.protocol": "consumer", "group.remote.assignor": "range"}
    settings = msgspec.structs.replace(world.settings, kafka=msgspec.structs.replace(kafka, properties=properties))
    app = App(world.group, settings=settings)

    @app.listen(world.Ordered)
    def note(order: Any) -> None:
        seen[order.order_id] += 1

    return app


def kind_of(world: World) -> str:
    with Asking(world.broker) as asking:
        groups = asking.ask(LIST_GROUPS, 5, states_filter=[], types_filter=[])["groups"]
    return next((str(group["group_type"]) for group in groups if group["group_id"] == world.group), "none")


async def test_members_share_partitions_and_nothing_is_lost_while_they_come_and_go(world: World) -> None:
    world.partitions = 4
    seen: Counter[str] = Counter()
    first, second = member(world, seen), member(world, seen)
    async with first.running():
        await asyncio.gather(*(first.publish(world.Ordered(f"a-{n}")) for n in range(100)))
        async with second.running():
            await eventually(lambda: second._runner and len(second._runner.positions()) == 2)
            assert kind_of(world) == "consumer"
            await asyncio.gather(*(first.publish(world.Ordered(f"b-{n}")) for n in range(100)))
            await eventually(lambda: len(seen) == 200)
        await asyncio.gather(*(first.publish(world.Ordered(f"c-{n}")) for n in range(100)))
        await eventually(lambda: len(seen) == 300)
    # Partitions moved in an orderly way both times, so nothing was handled twice either.
    assert set(seen.values()) == {1}
    assert sum(world.committed(world.orders, index) for index in range(4)) == 300
