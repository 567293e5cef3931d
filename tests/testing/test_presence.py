"""When clients can be let loose on a broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ottla.testing import EmbeddedBroker, free_port
from ottla.testing.presence import wait_until_told

WITHIN_S = 30.0


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


def test_a_broker_is_asked_until_it_tells_of_itself(broker: EmbeddedBroker) -> None:
    with broker.faults.forget_brokers(times=3) as forgotten:
        assert wait_until_told(broker.faults.bootstrap_servers, WITHIN_S, lambda: True)
        assert forgotten.hits == 3


def test_a_broker_that_never_tells_of_itself_is_given_up(broker: EmbeddedBroker) -> None:
    with broker.faults.forget_brokers() as forgotten:
        assert not wait_until_told(broker.faults.bootstrap_servers, 0.5, lambda: True)
        assert forgotten.hits


def test_a_broker_that_has_ended_is_not_asked() -> None:
    assert not wait_until_told(f"127.0.0.1:{free_port()}", WITHIN_S, lambda: False)
