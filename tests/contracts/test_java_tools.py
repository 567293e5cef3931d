"""Contract: the command-line tools that come with Apache Kafka work unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from confluent_kafka import TopicPartition

from ottla.errors import ServerFailed
from ottla.testing import Broker, KafkaHome
from tests.conftest import IN_CI
from tests.contracts.clients import consumer, produce, read_partition, values

TOPICS = "org.apache.kafka.tools.TopicCommand"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
CONSOLE_PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
CONSOLE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
VERIFIABLE_PRODUCER = "org.apache.kafka.tools.VerifiableProducer"
VERIFIABLE_CONSUMER = "org.apache.kafka.tools.VerifiableConsumer"
GET_OFFSETS = "org.apache.kafka.tools.GetOffsetShell"

Tool = Callable[..., str]


@pytest.fixture
def tool(broker: Broker) -> Tool:
    """Runs a tool against the broker and gives its output; a tool that fails fails the test."""
    try:
        home = KafkaHome.find()
    except ServerFailed as missing:
        (pytest.fail if IN_CI else pytest.skip)(str(missing))

    def run(main: str, *arguments: str, stdin: str = "") -> str:
        done = home.run(main, "--bootstrap-server", broker.bootstrap_servers, *arguments, stdin=stdin, timeout_s=90)
        assert done.returncode == 0, f"{main} {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


def test_topics_are_created_described_and_deleted(tool: Tool, topic_name: str) -> None:
    tool(TOPICS, "--create", "--topic", topic_name, "--partitions", "3", "--config", "retention.ms=60000")
    described = tool(TOPICS, "--describe", "--topic", topic_name)
    assert re.search(r"PartitionCount:\s*3\b", described)
    assert "retention.ms=60000" in described
    tool(TOPICS, "--delete", "--topic", topic_name)


def test_the_console_producer_writes_what_librdkafka_reads(tool: Tool, broker: Broker, topic: str) -> None:
    lines = [f"line {number}" for number in range(20)]
    tool(CONSOLE_PRODUCER, "--topic", topic, stdin="\n".join(lines) + "\n")
    assert values(read_partition(broker, topic, 20)) == [line.encode() for line in lines]


def test_the_console_consumer_reads_what_librdkafka_wrote(tool: Tool, broker: Broker, topic: str) -> None:
    produce(broker, topic, [b"v%d" % number for number in range(20)], compression_type="lz4")
    printed = tool(CONSOLE_CONSUMER, "--topic", topic, "--from-beginning", "--max-messages", "20")
    assert printed.split() == [f"v{number}" for number in range(20)]


def test_a_java_group_commits_and_its_lag_is_described(tool: Tool, broker: Broker, topic: str, group_name: str) -> None:
    produce(broker, topic, [b"v"] * 5)
    tool(CONSOLE_CONSUMER, "--topic", topic, "--from-beginning", "--group", group_name, "--max-messages", "5")
    produce(broker, topic, [b"v"] * 2)
    (line,) = [line for line in tool(GROUPS, "--describe", "--group", group_name).splitlines() if topic in line]
    assert line.split()[:6] == [group_name, topic, "0", "5", "7", "2"]


def test_a_groups_offsets_are_reset(tool: Tool, broker: Broker, topic: str, group_name: str) -> None:
    produce(broker, topic, [b"v"] * 5)
    with consumer(broker, group_name) as client:
        client.commit(offsets=[TopicPartition(topic, 0, 5)], asynchronous=False)
    tool(GROUPS, "--reset-offsets", "--group", group_name, "--topic", topic, "--to-offset", "2", "--execute")
    with consumer(broker, group_name) as client:
        assert client.committed([TopicPartition(topic, 0)], timeout=10)[0].offset == 2


def test_the_verifiable_producer_has_every_record_acknowledged(tool: Tool, broker: Broker, topic: str) -> None:
    printed = tool(VERIFIABLE_PRODUCER, "--topic", topic, "--max-messages", "200", "--acks", "-1")
    events = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    acknowledged = [event for event in events if event["name"] == "producer_send_success"]
    assert [event["offset"] for event in acknowledged] == list(range(200))
    assert values(read_partition(broker, topic, 200)) == [b"%d" % number for number in range(200)]


def test_the_verifiable_consumer_reads_every_record_in_a_group(
    tool: Tool, broker: Broker, topic: str, group_name: str
) -> None:
    produce(broker, topic, [b"%d" % number for number in range(200)])
    printed = tool(
        VERIFIABLE_CONSUMER, "--topic", topic, "--group-id", group_name, "--max-messages", "200",
        "--reset-policy", "earliest",
    )  # fmt: skip
    events = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert sum(event["count"] for event in events if event["name"] == "records_consumed") == 200
    assert [event for event in events if event["name"] == "offsets_committed"][-1]["success"]


def test_offsets_are_shown_per_partition(tool: Tool, broker: Broker, topic_of_3: str) -> None:
    produce(broker, topic_of_3, [b"v"] * 4, partition=1)
    printed = tool(GET_OFFSETS, "--topic", topic_of_3)
    assert printed.split() == [f"{topic_of_3}:0:0", f"{topic_of_3}:1:4", f"{topic_of_3}:2:0"]
