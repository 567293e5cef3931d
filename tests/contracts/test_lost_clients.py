"""Clients that lose the brokers for good: the library forgets every broker when metadata names none, as Apache Kafka's
does while its only broker comes back, and with `metadata.recovery.strategy=none` never looks for one again (otherwise
sometimes, which no test can wait for). A service goes on nevertheless."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from ottla import App, Producer, Settings
from ottla.errors import BrokerUnavailable
from ottla.kafka.admin import Admin
from ottla.kafka.producer import Producer as KafkaProducer
from ottla.kafka.reach import Reply, ask_for_brokers
from ottla.testing import Broker
from ottla.testing.faults import Faults
from tests.contracts.clients import create_topic, wait_until
from tests.listeners.harness import World, eventually

WITHIN_S = 60.0

FORGETFUL = {"metadata.recovery.strategy": "none", "topic.metadata.refresh.interval.ms": 300}


@pytest.fixture
def faults(broker: Broker) -> Iterator[Faults]:
    yield broker.faults
    broker.faults.heal()


@pytest.fixture
def settings(world: World, faults: Faults) -> Settings:
    kafka = msgspec.structs.replace(
        world.settings.kafka, bootstrap_servers=faults.bootstrap_servers, properties=FORGETFUL
    )
    return msgspec.structs.replace(world.settings, kafka=kafka)


@pytest.fixture
async def publisher(world: World) -> AsyncIterator[App]:
    """Whose brokers are always there."""
    app = App(f"{world.group}-publisher", settings=world.settings)
    async with app.running():
        yield app


async def lose(app: App, faults: Faults) -> None:
    """All clients of an app lose the brokers."""
    with faults.forget_brokers() as forgotten:
        await eventually(lambda: forgotten.hits > 2, what="questions for metadata")
        await eventually(lambda: any("no broker" in reason for reason in app.health.wrong()), within_s=WITHIN_S)


@pytest.mark.parametrize("ack", ["auto", "record"])
async def test_a_listener_goes_on(world: World, faults: Faults, settings: Settings, publisher: App, ack: Any) -> None:
    app = App(world.group, settings=settings)
    seen: list[str] = []
    told: list[Any] = []
    app.on_assigned(lambda places: told.append(("assigned", places)))
    app.on_revoked(lambda places: told.append(("revoked", places)))

    @app.listen(world.Ordered, ack=ack)
    async def note(order: Any) -> Any:
        seen.append(order.order_id)
        return world.Reserved(order.order_id)

    async with app.running():
        await publisher.publish(world.Ordered("before"))
        await eventually(lambda: seen == ["before"])
        await eventually(lambda: world.committed(world.orders) == 1)
        await lose(app, faults)
        await publisher.publish(world.Ordered("after"))
        await eventually(lambda: seen == ["before", "after"], within_s=WITHIN_S)
        await eventually(lambda: world.committed(world.orders) == 2)
        await eventually(lambda: app.health.wrong() == [])
        here = [(world.orders, 0)]
        assert told == [("assigned", here), ("revoked", here), ("assigned", here)]
    assert [record.key for record in world.records(world.stock)] == [b"before", b"after"]


async def test_an_exactly_once_listener_goes_on(
    world: World, faults: Faults, settings: Settings, publisher: App
) -> None:
    app = App(world.group, settings=settings)

    @app.listen(world.Ordered, exactly_once=True)
    async def reserve(order: Any) -> Any:
        return world.Reserved(order.order_id)

    async with app.running():
        await publisher.publish(world.Ordered("before"))
        await eventually(lambda: world.committed(world.orders) == 1)
        await lose(app, faults)
        await publisher.publish(world.Ordered("after"))
        await eventually(lambda: world.committed(world.orders) == 2, within_s=WITHIN_S)
        await eventually(lambda: app.health.wrong() == [])
    assert [record.key for record in world.records(world.stock)] == [b"before", b"after"]


async def test_a_producer_goes_on(world: World, faults: Faults, settings: Settings) -> None:
    app = App(world.group, settings=settings)
    async with app.running():
        await app.publish(world.Ordered("before"))
        await lose(app, faults)
        await eventually(lambda: app.health.wrong() == [], within_s=WITHIN_S)
        await app.publish(world.Ordered("after"))
    assert [record.key for record in world.records(world.orders)] == [b"before", b"after"]


async def test_an_event_is_published_for_the_first_time(world: World, faults: Faults, settings: Settings) -> None:
    app = App(world.group, settings=settings)
    async with app.running():
        await app.publish(world.Ordered("known"))
        await lose(app, faults)
        await app.publish(world.Reserved("new"))
    assert [record.key for record in world.records(world.stock)] == [b"new"]


def test_administration_goes_on(world: World, faults: Faults, settings: Settings) -> None:
    def is_known() -> bool:
        try:
            return world.orders in admin.topics()
        except BrokerUnavailable:
            return False

    create_topic(world.broker, world.orders)
    admin = Admin(settings.kafka, timeout_s=2.0)
    assert is_known()
    with faults.forget_brokers():
        wait_until(lambda: not is_known(), what="no answer")
    wait_until(is_known, what="an answer")


async def test_what_was_sent_meanwhile_is_written_in_order(world: World, faults: Faults, settings: Settings) -> None:
    app = App(world.group, settings=settings)
    async with app.running():
        await app.publish(world.Ordered("before"))
        await lose(app, faults)
        for number in range(100):
            await app.send(world.Ordered(f"{number:03}"))
        await app.publish_many([world.Ordered(f"{number:03}") for number in range(100, 200)])
    assert [record.key for record in world.records(world.orders)] == [b"before", *(b"%03d" % n for n in range(200))]


async def test_what_another_thread_sends_while_the_client_is_replaced_stays_in_order(
    world: World, faults: Faults, settings: Settings
) -> None:
    def delivered(error: Any, message: Any) -> None:
        replaced.set()  # the records that wait are taken from the old client, one after the other
        if error is None or not producer.again(error, message, delivered):
            reports.append(error)

    def send(count: int) -> None:
        for _ in range(count):
            producer.send(world.orders, b"%d" % len(sent), key=b"one", on_delivery=delivered)
            sent.append(b"%d" % len(sent))

    def send_meanwhile() -> None:
        assert replaced.wait(WITHIN_S)
        while len(reports) < 100:
            send(10)

    def is_alone() -> bool:
        return ask_for_brokers(producer._producer, 1.0) is Reply.NOBODY

    sent: list[bytes] = []
    reports: list[Any] = []
    replaced = threading.Event()
    create_topic(world.broker, world.orders)
    producer = KafkaProducer(settings.kafka)
    try:
        send(1)
        await eventually(lambda: reports == [None])
        replaced.clear()
        with faults.forget_brokers():
            # One that is only about to forget them may have a batch written, and never learn of it.
            await asyncio.to_thread(wait_until, is_alone, what="a client that has nobody to ask")
        send(5000)
        await asyncio.to_thread(send_meanwhile)
    finally:
        left = producer.close(WITHIN_S)
    assert (left, reports) == (0, [None] * len(sent))
    assert [record.value for record in world.records(world.orders)] == sent


async def test_a_client_whose_broker_takes_its_time_is_kept_and_nothing_is_sent_twice(
    world: World, faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = msgspec.structs.replace(world.settings.kafka, bootstrap_servers=faults.bootstrap_servers)
    create_topic(world.broker, world.orders)
    reports: list[Any] = []
    sent = [b"%d" % number for number in range(100)]
    producer = KafkaProducer(kafka)
    try:
        with faults.delay("Produce", 15.0, times=1) as late:
            for value in sent:
                producer.send(world.orders, value, on_delivery=lambda error, _: reports.append(error))
                if value == b"50":
                    await eventually(lambda: late.hits, what="the first is on its way")
            await eventually(lambda: len(reports) == len(sent), within_s=WITHIN_S)
    finally:
        producer.close(WITHIN_S)
    assert reports == [None] * len(sent)
    assert [record.value for record in world.records(world.orders)] == sent
    assert "a new client" not in caplog.text


async def test_a_script_goes_on(world: World, faults: Faults, settings: Settings) -> None:
    def play() -> None:
        with Producer(settings=settings) as producer:
            producer.publish(world.Ordered("before"))
            lost.wait(WITHIN_S)
            producer.send(world.Ordered("sent"))
            producer.publish(world.Ordered("published"))

    lost = threading.Event()
    playing = asyncio.create_task(asyncio.to_thread(play))
    await eventually(lambda: len(world.records(world.orders)) == 1)
    with faults.forget_brokers() as forgotten:
        before = forgotten.hits
        await eventually(lambda: forgotten.hits > before + 3)
    lost.set()
    await playing
    assert [record.key for record in world.records(world.orders)] == [b"before", b"sent", b"published"]


async def test_a_listener_whose_fetch_is_never_answered_goes_on(
    world: World, faults: Faults, settings: Settings, publisher: App
) -> None:
    app = App(world.group, settings=settings)
    seen: list[str] = []

    @app.listen(world.Ordered)
    async def note(order: Any) -> None:
        seen.append(order.order_id)

    async with app.running():
        await publisher.publish(world.Ordered("before"))
        await eventually(lambda: world.committed(world.orders) == 1)
        faults.delay("Fetch", 3600.0, times=1).wait()
        await publisher.publish(world.Ordered("after"))
        # The client library notices after a minute.
        await eventually(lambda: seen == ["before", "after"], within_s=50)
        await eventually(lambda: world.committed(world.orders) == 2)
        await eventually(lambda: app.health.wrong() == [])
