"""What a running App does while the broker or the registry is away."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from ottla import App, KafkaSettings, ListenerSettings, RegistrySettings, Settings
from ottla.testing import Broker, EmbeddedRegistry
from tests.listeners.harness import World, eventually


async def test_a_service_started_before_the_registry_waits_says_so_and_then_goes_on(own_broker: Broker) -> None:
    registry = EmbeddedRegistry(own_broker.bootstrap_servers)
    registry.start()
    world = World(own_broker, registry)
    seen: list[str] = []
    publisher = App(f"{world.group}-publisher", settings=world.settings)
    async with publisher.running():
        await publisher.publish(world.Ordered("o-1"))
    registry.stop()
    try:
        app = App(world.group, settings=world.settings)

        @app.listen(world.Ordered)
        def note(order: Any) -> None:
            seen.append(order.order_id)

        async with app.running():
            reasons = await eventually(
                lambda: [reason for reason in app.health.wrong() if "waiting for the schema registry" in reason]
            )
            assert registry.url in reasons[0]
            assert app.health.dead() == []
            registry.start()
            await eventually(lambda: seen == ["o-1"])
            await eventually(lambda: app.health.wrong() == [])
        assert world.dead_letters(world.orders) == []
    finally:
        registry.close()


async def test_a_registry_that_goes_away_delays_records_and_dead_letters_none(own_broker: Broker) -> None:
    registry = EmbeddedRegistry(own_broker.bootstrap_servers)
    registry.start()
    world = World(own_broker, registry)
    try:
        publisher = App(f"{world.group}-publisher", settings=world.settings)
        app = App(world.group, settings=world.settings)
        seen: list[str] = []

        @app.listen(world.Ordered)
        def note(order: Any) -> Any:
            seen.append(order.order_id)
            return world.Reserved(order.order_id)

        async with publisher.running(), app.running():
            # The publisher knows the schema's id; the listener has not seen any record when the registry goes.
            await eventually(lambda: app.health.wrong() == [])
            await asyncio.to_thread(publisher._outputs._serializer.encode, world.Ordered("x"), world.orders)  # type: ignore[union-attr]
            registry.kill()
            await publisher.publish(world.Ordered("o-1"))
            await eventually(lambda: any(registry.url in reason for reason in app.health.wrong()))
            assert seen == []
            registry.start()
            await eventually(lambda: len(world.records(world.stock)) == 1)
            await eventually(lambda: app.health.wrong() == [])
        assert seen == ["o-1"]
        assert world.dead_letters(world.orders) == []
    finally:
        registry.close()


async def test_a_broker_killed_and_restarted_in_mid_flow_loses_nothing(own_broker: Broker) -> None:
    registry = EmbeddedRegistry(own_broker.bootstrap_servers)
    registry.start()
    world = World(own_broker, registry, partitions=3)
    try:
        app = App(world.group, settings=world.settings)
        seen: Counter[str] = Counter()
        acknowledged: set[str] = set()

        @app.listen(world.Ordered)
        def note(order: Any) -> Any:
            seen[order.order_id] += 1
            return world.Reserved(order.order_id)

        async def publish(number: int) -> None:
            await app.publish(world.Ordered(f"o-{number}"), event_id=f"e-{number}")
            acknowledged.add(f"o-{number}")

        async with app.running():
            await asyncio.gather(*(publish(number) for number in range(200)))
            own_broker.kill()
            publishing = asyncio.gather(*(publish(number) for number in range(200, 400)))
            await eventually(lambda: any("broker" in reason for reason in app.health.wrong()))
            own_broker.start()
            await publishing
            await eventually(lambda: len(seen) == 400, within_s=60)
            await eventually(lambda: len({record.key for record in world.records(world.stock)}) == 400, within_s=60)
            await eventually(lambda: app.health.wrong() == [], within_s=60)
        assert acknowledged == set(seen) == {f"o-{number}" for number in range(400)}
        # Idempotent producers: a publish that was retried across the outage is in the log once.
        assert len(world.records(world.orders)) == 400
    finally:
        registry.close()


async def test_a_service_stops_within_its_deadline_while_the_broker_is_away(own_broker: Broker) -> None:
    registry = EmbeddedRegistry(own_broker.bootstrap_servers)
    registry.start()
    world = World(own_broker, registry)
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=own_broker.bootstrap_servers, topic_partitions=1),
        registry=RegistrySettings(url=registry.url),
        listener=ListenerSettings(session_timeout_s=6.0, drain_timeout_s=2.0),
    )
    try:
        app = App(world.group, settings=settings)
        seen: list[str] = []

        @app.listen(world.Ordered)
        def note(order: Any) -> Any:
            seen.append(order.order_id)
            return world.Reserved(order.order_id)

        async with app.running():
            await app.publish(world.Ordered("o-1"))
            await eventually(lambda: seen == ["o-1"])
            own_broker.kill()
            await eventually(lambda: any("no broker answers" in reason for reason in app.health.wrong()))
            started = time.monotonic()
        # Twice the deadline, and a thread's patience: a hang would be half a minute.
        assert time.monotonic() - started < 10
    finally:
        registry.close()
