"""Contract: topics that are made because somebody asks for them, where the broker does that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ottla.broker.wire.messages.metadata import METADATA
from ottla.testing import Broker, EmbeddedBroker, RealKafka
from tests.conftest import _start
from tests.contracts.asking import Asking
from tests.contracts.clients import consumer, read_partition, send, values, wait_until

NONE, UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, INVALID_TOPIC, UNKNOWN_TOPIC_ID = 0, 3, 5, 17, 100
PARTITIONS = 3


@pytest.fixture(scope="module")
def creating_broker(request: pytest.FixtureRequest, broker_kind: str) -> Iterator[Broker]:
    """A broker of each kind that makes topics when they are asked for."""

    def make() -> Broker:
        if broker_kind == "embedded":
            return EmbeddedBroker(options={"auto_create_topics": True, "partitions": PARTITIONS})
        return RealKafka(properties={"auto.create.topics.enable": "true", "num.partitions": str(PARTITIONS)})

    server = _start(request.config, make)
    yield server
    server.close()


def ask_for(broker: Broker, name: str, *, version: int = 9, **more: Any) -> tuple[int, int]:
    """Asks for a topic's metadata; gives its error and its number of partitions."""
    with Asking(broker) as asking:
        answer = asking.ask(METADATA, version, topics=[{"name": name}], **more)
        (topic,) = answer["topics"]
        return topic["error_code"], len(topic["partitions"])


def made(broker: Broker, name: str, **more: Any) -> int:
    """Asks until the topic is there, which Apache Kafka takes a moment for; gives its number of partitions."""
    found: list[int] = []

    def is_there() -> bool:
        error, partitions = ask_for(broker, name, **more)
        assert error in (NONE, UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE)
        found.append(partitions)
        return error == NONE

    wait_until(is_there, what=f"{name} is made")
    return found[-1]


def listed(broker: Broker) -> list[str]:
    with Asking(broker) as asking:
        return [topic["name"] for topic in asking.ask(METADATA, 9, topics=None)["topics"]]


@pytest.mark.parametrize("version", [0, 3, 4, 13])
def test_a_topic_is_made_by_asking_for_it_with_the_brokers_number_of_partitions(
    creating_broker: Broker, topic_name: str, version: int
) -> None:
    assert made(creating_broker, topic_name, version=version) == PARTITIONS
    assert topic_name in listed(creating_broker)


def test_a_client_that_does_not_want_it_gets_no_topic(creating_broker: Broker, topic_name: str) -> None:
    for _ in range(2):
        answer = ask_for(creating_broker, topic_name, allow_auto_topic_creation=False)
        assert answer == (UNKNOWN_TOPIC_OR_PARTITION, 0)
    made(creating_broker, f"{topic_name}-other")  # what was begun before would have ended by now
    assert topic_name not in listed(creating_broker)


def test_a_broker_that_does_not_make_topics_makes_none(broker: Broker, topic_name: str) -> None:
    assert ask_for(broker, topic_name, allow_auto_topic_creation=True) == (UNKNOWN_TOPIC_OR_PARTITION, 0)
    assert ask_for(broker, topic_name) == (UNKNOWN_TOPIC_OR_PARTITION, 0)
    assert topic_name not in listed(broker)


@pytest.mark.parametrize("name", ["with space", "a/b", "x" * 250, "ä"])
def test_a_name_that_no_topic_can_have_is_refused(creating_broker: Broker, name: str) -> None:
    assert ask_for(creating_broker, name, allow_auto_topic_creation=True) == (INVALID_TOPIC, 0)
    assert name not in listed(creating_broker)


def test_asking_for_all_topics_or_by_an_id_makes_none(creating_broker: Broker) -> None:
    before = sorted(listed(creating_broker))
    with Asking(creating_broker) as asking:
        answer = asking.ask(
            METADATA, 12, topics=[{"name": None, "topic_id": b"x" * 16}], allow_auto_topic_creation=True
        )
    assert [topic["error_code"] for topic in answer["topics"]] == [UNKNOWN_TOPIC_ID]
    assert sorted(listed(creating_broker)) == before


def test_a_producer_writes_to_a_topic_that_was_not_there(creating_broker: Broker, topic_name: str) -> None:
    record = send(creating_broker, topic_name, b"first")
    (found,) = read_partition(creating_broker, topic_name, 1, partition=record.partition() or 0)
    assert values([found]) == [b"first"]


def test_a_consumer_makes_a_topic_only_if_it_says_so(creating_broker: Broker, topic_name: str, group_name: str) -> None:
    wanted, unwanted = f"{topic_name}-wanted", f"{topic_name}-unwanted"
    with consumer(creating_broker, group_name, allow_auto_create_topics=True) as client:
        client.subscribe([wanted])
        wait_until(lambda: client.poll(0.05) or wanted in listed(creating_broker), what="it is made")
    with consumer(creating_broker, f"{group_name}-2") as client:
        client.subscribe([unwanted])
        wait_until(lambda: client.poll(0.5), what="it is told that there is none")
    assert unwanted not in listed(creating_broker)
