"""Administration ends, whatever its client does."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from ottla import BrokerUnavailable, KafkaSettings
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


@pytest.mark.parametrize("ask", ASKS)
def test_a_question_that_the_client_forgets_ends_as_one_without_an_answer(embedded_broker: Broker, ask: str) -> None:
    admin = Admin(KafkaSettings(bootstrap_servers=embedded_broker.bootstrap_servers), timeout_s=0.5)
    topic = f"orders-{uuid.uuid4().hex[:8]}"
    admin.create_topic(topic, 1)
    admin._client = _Forgetful(admin._client)
    with pytest.raises(BrokerUnavailable, match="no broker answered"):
        ASKS[ask](admin, topic)
    assert topic in admin.topics()  # the next question goes to another client
