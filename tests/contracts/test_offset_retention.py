"""Contract: a group's place is forgotten when the group has been empty for `offsets.retention.minutes`, and not before
(KIP-211). A service that reads nothing for longer than that keeps its place.

Services of all kinds run side by side, for each test lasts as long as a broker keeps offsets. Apache Kafka's shortest
retention is a minute: there it runs with OTTLA_OFFSET_RETENTION=1 (`make soak`).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import TopicPartition

from ottla import App, Context, Retry, RetryTopics, Settings
from ottla.testing import Broker, EmbeddedBroker, EmbeddedRegistry, RealKafka
from ottla.testing.plugin import show_log_on_failure
from tests.contracts.clients import consumer, create_topic
from tests.listeners.harness import World, eventually
from tests.streams.runtime.conftest import Stage, ready

SLOW = "OTTLA_OFFSET_RETENTION" in os.environ
CHECK_S = 0.2


@pytest.fixture(scope="module")
def retention_s(broker_kind: str) -> float:
    return 5.0 if broker_kind == "embedded" else 60.0


@pytest.fixture(scope="module")
def forgetful(request: pytest.FixtureRequest, broker_kind: str, retention_s: float) -> Iterator[Broker]:
    """A broker that keeps the places of empty groups for a moment only."""
    check_ms = int(CHECK_S * 1000)
    server: Broker
    if broker_kind == "embedded":
        options = {"offsets_retention_ms": int(retention_s * 1000), "retention_check_interval_ms": check_ms}
        server = EmbeddedBroker(options=options)
    elif SLOW:
        server = RealKafka(
            properties={"offsets.retention.minutes": "1", "offsets.retention.check.interval.ms": str(check_ms)}
        )
    else:
        pytest.skip("Apache Kafka keeps offsets for a minute at least: runs with OTTLA_OFFSET_RETENTION=1")
    with server:
        show_log_on_failure(request.config, server)
        yield server


@pytest.fixture(scope="module")
def registry(forgetful: Broker) -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(forgetful.bootstrap_servers) as started:
        yield started


@pytest.fixture
def world(forgetful: Broker, registry: EmbeddedRegistry) -> World:
    return World(forgetful, registry)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch, retention_s: float) -> None:
    """What is done every few hours, because brokers keep offsets for a week."""
    monkeypatch.setattr("ottla.listeners.renewal.RENEW_S", retention_s / 8)
    monkeypatch.setattr("ottla.listeners.runner.LAG_INTERVAL_S", retention_s / 20)
    monkeypatch.setattr("ottla.streams.runtime.thread.REFRESH_S", retention_s / 8)


class Quiet:
    """Tells when a retention has passed, and when the broker has looked at its groups, by groups that it forgets."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._topic = create_topic(world.broker, f"{world.group}-other")
        self._groups = 0

    def _place(self, group: str) -> int | None:
        return self._world.admin.committed(group).get((self._topic, 0))

    async def _is_forgotten(self, group: str) -> None:
        await eventually(lambda: self._place(group) is None, what=f"{group} is forgotten", within_s=180)

    async def retention(self) -> None:
        """Returns when a place is forgotten that was committed after this was called."""
        self._groups += 1
        group = f"{self._world.group}-clock-{self._groups}"
        with consumer(self._world.broker, group) as client:
            client.commit(offsets=[TopicPartition(self._topic, 0, 1)], asynchronous=False)
        assert self._place(group) == 1
        await self._is_forgotten(group)

    @asynccontextmanager
    async def look_after(self) -> AsyncIterator[None]:
        """Ends when the broker has looked at all its groups after the block, which takes longer than a retention.

        A group of the new protocol loses an old place with its last member.
        """
        self._groups += 1
        group = f"{self._world.group}-look-{self._groups}"
        with consumer(self._world.broker, group, group_protocol="consumer") as client:
            client.subscribe([self._topic])
            await eventually(lambda: client.poll(0.1) or client.assignment(), what="the assignment")
            client.commit(offsets=[TopicPartition(self._topic, 0, 1)], asynchronous=False)
            yield
            assert self._place(group) == 1, "it is still a member"
        await self._is_forgotten(group)


def settings_of(world: World, protocol: str) -> Settings:
    kafka = world.settings.kafka
    properties = kafka.properties | ({"group.protocol": "consumer"} if protocol == "consumer" else {})
    return msgspec.structs.replace(
        world.settings,
        kafka=msgspec.structs.replace(kafka, properties=properties),
        registry=msgspec.structs.replace(world.settings.registry, timeout_s=20.0),  # so many begin at once
    )


def service(world: World, seen: list[str], protocol: str, **options: Any) -> App:
    app = App(world.group, settings=settings_of(world, protocol))

    @app.listen(world.Ordered, **options)
    def note(order: Any) -> None:
        seen.append(order.order_id)

    return app


PROTOCOLS = ("classic", "consumer")


async def test_services_that_read_nothing_for_longer_than_the_retention_keep_their_places(world: World) -> None:
    async def keeps_its_place(protocol: str, options: dict[str, Any]) -> None:
        own, seen = World(world.broker, world.registry), list[str]()
        quiet = Quiet(own)
        async with quiet.look_after():
            app = service(own, seen, protocol, **options)
            async with app.running():
                await app.publish(own.Ordered("o-1"))
                await eventually(lambda: own.committed(own.orders) > 0, what="the first commit")
                position = own.committed(own.orders)
                await quiet.retention()
                assert own.committed(own.orders) == position, (protocol, options)
        again = service(own, seen, protocol, **options)
        async with again.running():
            await again.publish(own.Ordered("o-2"))
            await eventually(lambda: own.committed(own.orders) > position, what="the second commit")
        assert seen == ["o-1", "o-2"], (protocol, options)

    kinds = [
        (protocol, options) for protocol in PROTOCOLS for options in ({}, {"exactly_once": True}, {"ack": "record"})
    ]
    await asyncio.gather(*(keeps_its_place(*kind) for kind in kinds))


async def test_a_place_is_forgotten_when_its_group_has_been_empty_for_long(world: World, retention_s: float) -> None:
    quiet, seen = Quiet(world), list[str]()
    app = service(world, seen, "classic")
    async with app.running():
        await app.publish(world.Ordered("o-1"))
        await eventually(lambda: world.committed(world.orders) == 1, what="the commit")
        await quiet.retention()
        not_empty_yet = time.monotonic()
    await eventually(lambda: world.committed(world.orders) == 0, what="its place is forgotten", within_s=180)
    assert time.monotonic() - not_empty_yet >= retention_s
    again = service(world, seen, "classic")
    async with again.running():
        await eventually(lambda: len(seen) == 2, what="it begins at the beginning")
    assert seen == ["o-1", "o-1"]


async def test_places_in_quiet_retry_topics_are_kept(world: World) -> None:
    async def is_kept(protocol: str, ack: Any, restarted: bool) -> None:
        own, seen = World(world.broker, world.registry), list[str]()
        quiet, retries = Quiet(own), f"{own.orders}-retry-1"

        def make() -> App:
            app = App(own.group, settings=settings_of(own, protocol))

            @app.listen(own.Ordered, retry=Retry(attempts=1, topics=RetryTopics([0.01])), ack=ack)
            def note(order: Any, ctx: Context) -> None:
                seen.append(order.order_id)
                if ctx.attempt == 1:
                    raise TimeoutError

            return app

        async def retried(app: App, order: str, position: int) -> None:
            await app.publish(own.Ordered(order))
            await eventually(lambda: own.committed(retries) == position, what="the retry's commit")

        first = make()
        async with first.running():
            await retried(first, "o-1", 1)
            if not restarted:
                await quiet.retention()
                assert own.committed(retries) == 1, (protocol, ack)
        second = make()
        async with second.running():
            if restarted:  # of what was handled before it knows only what is committed
                await eventually(lambda: second.health.wrong() == [], what="it is ready")
                await quiet.retention()
                assert own.committed(retries) == 1, (protocol, ack)
            await retried(second, "o-2", 2)
        assert seen == ["o-1", "o-1", "o-2", "o-2"], (protocol, ack)

    kinds = [("classic", "record", False), ("classic", "record", True), ("classic", "auto", False)]
    await asyncio.gather(*(is_kept(*kind) for kind in [*kinds, ("consumer", "auto", True)]))


async def test_a_stream_application_that_reads_nothing_keeps_its_place(world: World, tmp_path: Path) -> None:
    quiet, stage = Quiet(world), Stage(world.broker, world.group, tmp_path)

    def places() -> dict[tuple[str, int], int]:
        committed = world.admin.committed(stage.setup.name)
        return {place: offset for place, offset in committed.items() if place[0] == stage.setup.source}

    async with stage.running() as app:
        await ready(app)
        stage.give(30)
        await stage.all_right()
        await eventually(lambda: len(places()) == 3, what="commits on all partitions")
        await quiet.retention()
        kept = places()
        assert len(kept) == 3
    async with stage.running():
        stage.give(30)
        await stage.all_right()
