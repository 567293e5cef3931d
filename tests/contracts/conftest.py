"""Topics, connections and worlds of events for the contract tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ottla.testing import Broker, EmbeddedRegistry
from tests.contracts.clients import create_topic
from tests.contracts.wire import Connection
from tests.listeners.harness import World


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


@pytest.fixture(scope="session")
def listener_registries() -> Iterator[dict[str, EmbeddedRegistry]]:
    started: dict[str, EmbeddedRegistry] = {}
    yield started
    for registry in started.values():
        registry.close()


@pytest.fixture
def world(broker: Broker, listener_registries: dict[str, EmbeddedRegistry]) -> World:
    registry = listener_registries.get(broker.bootstrap_servers)
    if registry is None:
        registry = listener_registries[broker.bootstrap_servers] = EmbeddedRegistry(broker.bootstrap_servers)
        registry.start()
    return World(broker, registry)
