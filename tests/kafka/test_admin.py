"""Administration ends, whatever its client does."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from ottla import BrokerUnavailable, KafkaSettings
from ottla.errors import KafkaError
from ottla.kafka.admin import Admin
from ottla.testing import Broker

ASKS: dict[str, Callable[[Admin, str], object]] = {
    "create": lambda admin, topic: admin.ensure_topics({f"{topic}-new": 1}),
    "delete": lambda admin, topic: admin.delete_topics([topic]),
    "ends": lambda admin, topic: admin.ends([(topic, 0)]),
    "groups": lambda admin, _: admin.groups(),
    "offsets": lambda admin, _: admin.committed("stock"),
}


class _Forgetful:
    """A client that answers where its topics are, and no other question."""

    def __init__(self, client: Any) -> None:
        self.list_topics, self.poll = client.list_topics, client.poll

    def list_consumer_groups(self, **_: object) -> Future[Any]:
        return Future()

    def __getattr__(self, name: str) -> Any:
        return lambda asked, **_: {str(one): Future[Any]() for one in asked}


class _Late:
    """A client of a broker that tells of a new topic when it is asked for the fourth time."""

    def __init__(self, client: Any, topic: str) -> None:
        self.create_topics = client.create_topics
        self._client, self._topic, self._asked = client, topic, 0

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        found = self._client.list_topics(topic, timeout=timeout)
        self._asked += 1
        if self._asked < 4:
            found.topics.pop(self._topic, None)
        return found


@pytest.mark.parametrize("ask", ASKS)
def test_a_question_that_the_client_forgets_ends_as_one_without_an_answer(embedded_broker: Broker, ask: str) -> None:
    admin = Admin(KafkaSettings(bootstrap_servers=embedded_broker.bootstrap_servers), timeout_s=0.5)
    topic = f"orders-{uuid.uuid4().hex[:8]}"
    admin.create_topic(topic, 1)
    admin._client = _Forgetful(admin._client)
    with pytest.raises(BrokerUnavailable, match="no broker answered"):
        ASKS[ask](admin, topic)
    assert topic in admin.topics()  # the next question goes to another client


def test_a_topic_is_known_once_it_has_been_ensured(embedded_broker: Broker) -> None:
    admin = Admin(KafkaSettings(bootstrap_servers=embedded_broker.bootstrap_servers))
    topic = f"orders-{uuid.uuid4().hex[:8]}"
    admin._client = _Late(admin._client, topic)
    assert admin.ensure_topics({topic: 3}) == [topic]
    assert admin.partitions([topic]) == {topic: 3}


def test_a_topic_is_known_once_it_has_been_created(embedded_broker: Broker) -> None:
    admin = Admin(KafkaSettings(bootstrap_servers=embedded_broker.bootstrap_servers))
    topic = f"orders-{uuid.uuid4().hex[:8]}"
    admin._client = _Late(admin._client, topic)
    admin.create_topic(topic, 3)
    assert admin.partitions([topic]) == {topic: 3}


def test_a_topic_that_is_not_there_is_named(embedded_broker: Broker) -> None:
    admin = Admin(KafkaSettings(bootstrap_servers=embedded_broker.bootstrap_servers))
    with pytest.raises(KafkaError, match="topics no-such-topic are not known at 127"):
        admin.partitions(["no-such-topic"])
