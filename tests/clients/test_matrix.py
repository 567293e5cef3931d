"""Every client family goes through one scenario on both brokers, and one checker compares its account with the logs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ottla.testing import Broker
from tests.clients import programs, python_clients
from tests.clients.checker import check
from tests.clients.conftest import require
from tests.clients.scenario import PARTITIONS, Content, Plan, Report
from tests.contracts.clients import create_topic

CLIENTS: dict[str, tuple[Callable[[Plan], Report], Content]] = {
    "confluent-kafka": (python_clients.run_confluent_kafka, Content()),
    "aiokafka": (python_clients.run_aiokafka, Content()),
    "kafka-python": (python_clients.run_kafka_python, Content()),
    "kcat": (programs.run_kcat, programs.KCAT_CONTENT),
    "kafkajs": (programs.run_kafkajs, Content()),
    "franz-go": (programs.run_franz_go, Content()),
    "Java": (programs.run_java, programs.JAVA_CONTENT),
}


@pytest.fixture
def plan(broker: Broker) -> Plan:
    made = Plan(broker.bootstrap_servers)
    create_topic(broker, made.topic, PARTITIONS)
    create_topic(broker, made.copies, PARTITIONS)
    return made


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_produces_consumes_in_a_group_and_transacts(
    request: pytest.FixtureRequest, client: str, broker: Broker, plan: Plan
) -> None:
    require(request, client)
    run, content = CLIENTS[client]
    check(broker, plan, run(plan), content)
