"""What clients see of the faults that a test injects, and that an App gets over each of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import confluent_kafka
import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from ottla import App, KafkaSettings, Settings
from ottla.errors import ProducerFenced
from ottla.kafka.reader import read_topic
from ottla.kafka.transactions import TransactionalProducer
from ottla.testing import Broker
from ottla.testing.faults import Fault, Faults
from tests.listeners.harness import World, eventually

PATIENCE_S = 30.0


@pytest.fixture
def faults(broker: Broker) -> Iterator[Faults]:
    yield broker.faults
    broker.faults.heal()


@pytest.fixture
def producer(faults: Faults) -> confluent_kafka.Producer:
    return librdkafka(faults)


def librdkafka(faults: Faults, **more: Any) -> confluent_kafka.Producer:
    quick = {"linger.ms": 0, "reconnect.backoff.ms": 10, "retry.backoff.ms": 10, "log_level": 0}
    return confluent_kafka.Producer({"bootstrap.servers": faults.bootstrap_servers, **quick, **more})


def send(producer: confluent_kafka.Producer, topic: str, value: str) -> Any:
    """The error that a delivery reports, None if there is none."""
    reports: list[Any] = []
    producer.produce(topic, value, on_delivery=lambda error, _message: reports.append(error))
    producer.flush(PATIENCE_S)
    (error,) = reports
    return error


def values(broker: Broker, topic: str) -> list[str]:
    """All that lies in partition 0, read past the door."""
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    return [(record.value or b"").decode() for record in read_topic(settings, topic)]


def test_a_dropped_request_never_reached_the_broker(broker: Broker, faults: Faults, topic: str) -> None:
    producer = librdkafka(faults, retries=0)
    assert send(producer, topic, "before") is None
    lost = faults.drop("Produce")
    assert send(producer, topic, "lost").name() == "_TRANSPORT"
    assert lost.hits == 1
    assert send(producer, topic, "after") is None
    assert values(broker, topic) == ["before", "after"]


def test_a_dropped_answer_is_one_whose_request_was_done(broker: Broker, faults: Faults, topic: str) -> None:
    unsure = librdkafka(faults)
    faults.drop("Produce", answer=True)
    assert send(unsure, topic, "twice") is None
    sure = librdkafka(faults, **{"enable.idempotence": True})
    faults.drop("Produce", answer=True)
    assert send(sure, topic, "once") is None
    assert values(broker, topic) == ["twice", "twice", "once"]


def test_an_error_is_what_the_client_is_told(broker: Broker, faults: Faults, topic: str) -> None:
    producer = librdkafka(faults)
    faults.error("Produce", "MESSAGE_TOO_LARGE")
    assert send(producer, topic, "too large, it says").name() == "MSG_SIZE_TOO_LARGE"
    moved = faults.error("Produce", "NOT_LEADER_OR_FOLLOWER", times=2)
    assert send(producer, topic, "again") is None
    assert moved.hits == 2
    assert values(broker, topic) == ["again"]


def test_a_delayed_answer_comes_no_sooner(faults: Faults, producer: confluent_kafka.Producer, topic: str) -> None:
    assert send(producer, topic, "at once") is None
    with faults.delay("Produce", 0.3) as slow:
        began = time.monotonic()
        assert send(producer, topic, "late") is None
        assert time.monotonic() - began >= 0.3
    assert slow.hits == 1


def test_cut_connections_are_opened_again(faults: Faults, producer: confluent_kafka.Producer, topic: str) -> None:
    assert send(producer, topic, "before") is None
    assert faults.kill_connections() >= 1
    assert send(producer, topic, "after") is None


def test_an_unavailable_broker_takes_nothing_until_it_is_back(broker: Broker, faults: Faults, topic: str) -> None:
    producer = librdkafka(faults, **{"message.timeout.ms": 300})
    assert send(producer, topic, "before") is None
    with faults.unavailable():
        assert send(producer, topic, "meanwhile").name() == "_MSG_TIMED_OUT"
    assert send(librdkafka(faults), topic, "after") is None
    assert values(broker, topic) == ["before", "after"]


def test_a_fenced_producer_cannot_commit(broker: Broker, faults: Faults, topic: str) -> None:
    producer = TransactionalProducer(KafkaSettings(bootstrap_servers=faults.bootstrap_servers), f"tx-{topic}")
    assert f"tx-{topic}" in faults.transactional_ids
    producer.begin()
    producer.send(topic, b"never seen")
    assert faults.fence(f"tx-{topic}") == [f"tx-{topic}"]
    with pytest.raises(ProducerFenced):
        producer.commit()
    producer.close()
    assert values(broker, topic) == []


def test_a_fault_is_waited_for_and_healed(faults: Faults, producer: confluent_kafka.Producer, topic: str) -> None:
    assert send(producer, topic, "before") is None
    fault = faults.error("Produce", "NOT_ENOUGH_REPLICAS", times=None)
    waiting = threading.Thread(target=send, args=(producer, topic, "waits"))
    waiting.start()
    fault.wait(hits=2, timeout_s=PATIENCE_S)
    assert waiting.is_alive()
    fault.heal()
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()
    assert not faults.drop("Fetch", times=0).hits


def test_faults_have_the_names_that_kafka_gives_them(faults: Faults) -> None:
    with pytest.raises(ValueError, match="there is no API 'Product'"):
        faults.drop("Product")
    with pytest.raises(ValueError, match="there is no error 'LOST'"):
        faults.error("Produce", "LOST")
    with pytest.raises(TimeoutError, match="0 of 1 requests"):
        faults.drop("DeleteRecords").wait(timeout_s=0.01)


async def test_aiokafka_gets_over_every_fault_of_a_produce_and_writes_once(
    broker: Broker, faults: Faults, topic: str
) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=faults.bootstrap_servers, enable_idempotence=True, retry_backoff_ms=20
    )
    await producer.start()
    try:
        hit = list[Fault]()
        for number, harm in enumerate(
            (
                lambda: faults.drop("Produce"),
                lambda: faults.drop("Produce", answer=True),
                lambda: faults.error("Produce", "NOT_LEADER_OR_FOLLOWER"),
                lambda: faults.delay("Produce", 0.05, times=1),
            )
        ):
            hit.append(harm())
            await producer.send_and_wait(topic, str(number).encode())
        assert faults.kill_connections() >= 1
        await producer.send_and_wait(topic, b"4")
    finally:
        await producer.stop()
    assert [fault.hits for fault in hit] == [1, 1, 1, 1]
    assert values(broker, topic) == ["0", "1", "2", "3", "4"]


HARMS: dict[str, Callable[[Faults], Any]] = {
    "lost records": lambda faults: faults.drop("Produce", times=2),
    "lost acknowledgements": lambda faults: faults.drop("Produce", times=2, answer=True),
    "fetches that fail": lambda faults: faults.error("Fetch", "NOT_LEADER_OR_FOLLOWER", times=2),
    "commits that fail": lambda faults: faults.error("OffsetCommit", "COORDINATOR_NOT_AVAILABLE", times=2),
    "a coordinator that moved": lambda faults: faults.error("Heartbeat", "NOT_COORDINATOR"),
    "cut connections": lambda faults: faults.kill_connections(),
}


def through_the_door(world: World, faults: Faults) -> Settings:
    kafka = msgspec.structs.replace(
        world.settings.kafka,
        bootstrap_servers=faults.bootstrap_servers,
        properties={"heartbeat.interval.ms": 100, **world.settings.kafka.properties},
    )
    return msgspec.structs.replace(world.settings, kafka=kafka)


@pytest.mark.parametrize("harm", HARMS)
async def test_an_app_gets_over(world: World, faults: Faults, harm: str) -> None:
    app = App(world.group, settings=through_the_door(world, faults))

    @app.listen(world.Ordered)
    async def reserve(order: Any) -> Any:
        return world.Reserved(order.order_id)

    async with app.running():
        await app.publish(world.Ordered("o-0"))
        await eventually(lambda: world.committed(world.orders) == 1)
        fault = HARMS[harm](faults)
        for number in range(1, 30):
            await app.publish(world.Ordered(f"o-{number}"))
        if isinstance(fault, Fault):
            await eventually(lambda: fault.hits)
        await eventually(lambda: world.committed(world.orders) == 30, what="the last commit")
    taken = Counter(record.key for record in world.records(world.stock))
    assert set(taken) == {b"o-%d" % number for number in range(30)}
    if harm != "a coordinator that moved":
        assert set(taken.values()) == {1}, "nobody else had the partition: nothing is handled again"


async def test_an_exactly_once_app_gets_over_being_fenced(world: World, faults: Faults) -> None:
    app = App(world.group, settings=through_the_door(world, faults))

    @app.listen(world.Ordered, exactly_once=True)
    async def reserve(order: Any) -> Any:
        return world.Reserved(order.order_id)

    async with app.running():
        await app.publish(world.Ordered("o-0"))
        await eventually(lambda: world.committed(world.orders) == 1)
        assert faults.fence(faults.transactional_ids[-1])
        for number in range(1, 30):
            await app.publish(world.Ordered(f"o-{number}"))
        await eventually(lambda: world.committed(world.orders) == 30, what="the last commit")
    taken = Counter(record.key for record in world.records(world.stock))
    assert taken == {b"o-%d" % number: 1 for number in range(30)}
