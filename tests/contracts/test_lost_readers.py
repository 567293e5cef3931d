"""Readers whose clients have lost the brokers for good say so, and do not wait for ever (see `test_lost_clients`):
those who use them open others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ottla.errors import BrokerUnavailable
from ottla.kafka.owned_topic import OwnedTopic
from ottla.kafka.positioned import PositionedReader
from ottla.kafka.producer import Producer
from ottla.kafka.reader import TopicReader
from ottla.kafka.tail import Tail
from ottla.settings import KafkaSettings, ListenerSettings
from ottla.testing import Broker
from tests.contracts.test_lost_clients import FORGETFUL, WITHIN_S

Opened = tuple[Any, Callable[[], Any]]


def _topic_reader(settings: KafkaSettings, topic: str) -> Opened:
    reader = TopicReader(settings, topic)
    return reader, lambda: list(reader.follow(0.1))


def _positioned(settings: KafkaSettings, topic: str) -> Opened:
    reader = PositionedReader(settings, ListenerSettings(), [topic], f"{topic}-g", lambda _places: {}, print)
    return reader, lambda: reader.poll(0.1)


def _owned(settings: KafkaSettings, topic: str) -> Opened:
    reader = OwnedTopic(settings, ListenerSettings(), topic, f"{topic}-g")
    return reader, lambda: reader.poll(0.1)


@pytest.fixture
def settings(broker: Broker) -> Iterator[KafkaSettings]:
    yield KafkaSettings(bootstrap_servers=broker.faults.bootstrap_servers, properties=FORGETFUL)
    broker.faults.heal()


@pytest.mark.parametrize("opened", [_topic_reader, _positioned, _owned])
def test_a_reader_says_that_it_has_lost_the_brokers(
    broker: Broker, topic: str, settings: KafkaSettings, opened: Callable[[KafkaSettings, str], Opened]
) -> None:
    reader, poll = opened(settings, topic)
    deadline = time.monotonic() + WITHIN_S

    def poll_until(over: Callable[[], Any]) -> None:
        while not over():
            poll()
            assert time.monotonic() < deadline

    try:
        poll_until(lambda: getattr(reader, "owned", True))  # it knows a broker that it can lose
        with broker.faults.forget_brokers() as forgotten:
            poll_until(lambda: forgotten.hits >= 3)
        with pytest.raises(BrokerUnavailable, match="has lost the brokers, which answer others"):
            poll_until(lambda: False)
    finally:
        reader.close()


def test_a_tail_goes_on_behind_what_it_has_read(broker: Broker, topic: str, settings: KafkaSettings) -> None:
    producer = Producer(KafkaSettings(bootstrap_servers=broker.bootstrap_servers))
    producer.send(topic, b"before it begins")
    producer.flush(WITHIN_S)
    tail = Tail(settings, topic, 0)
    deadline = time.monotonic() + WITHIN_S

    def following() -> bytes | None:
        while (record := tail.poll(0.1)) is None:
            assert time.monotonic() < deadline
        return record.value

    try:
        producer.send(topic, b"before")
        assert following() == b"before"
        with broker.faults.forget_brokers() as forgotten:
            while forgotten.hits < 3:
                assert tail.poll(0.1) is None
        producer.send(topic, b"after")
        assert following() == b"after"
    finally:
        tail.close()
        producer.close()
