"""Topics for the contract tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ottla.testing import Broker
from tests.contracts.clients import create_topic
from tests.contracts.wire import Connection


@pytest.fixture
def topic(broker: Broker, topic_name: str) -> str:
    """A new topic with one partition."""
    return create_topic(broker, topic_name)


@pytest.fixture
def topic_of_3(broker: Broker, topic_name: str) -> str:
    """A new topic with three partitions."""
    return create_topic(broker, topic_name, partitions=3)


@pytest.fixture
def connection(broker: Broker) -> Iterator[Connection]:
    """A raw connection to the broker."""
    with Connection(broker) as opened:
        yield opened
