"""Contract: the administrator's command-line tools that come with Apache Kafka work unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from ottla.errors import ServerFailed
from ottla.testing import Broker, KafkaHome
from tests.conftest import IN_CI
from tests.contracts.clients import consumer, produce, send, wait_until

TOOLS = "org.apache.kafka.tools"
TOPICS = f"{TOOLS}.TopicCommand"
GROUPS = f"{TOOLS}.consumer.group.ConsumerGroupCommand"
CONFIGS = "kafka.admin.ConfigCommand"

Tool = Callable[..., str]


@pytest.fixture
def tool(broker: Broker) -> Tool:
    """Runs a tool against the broker and gives its output; a tool that fails fails the test."""
    try:
        home = KafkaHome.find()
    except ServerFailed as missing:
        (pytest.fail if IN_CI else pytest.skip)(str(missing))

    def run(main: str, *arguments: str) -> str:
        done = home.run(main, "--bootstrap-server", broker.bootstrap_servers, *arguments, timeout_s=90)
        assert done.returncode == 0, f"{main} {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


def test_api_versions_are_listed_and_every_one_is_known_to_java(tool: Tool) -> None:
    printed = tool(f"{TOOLS}.BrokerApiVersionsCommand")
    assert re.search(r"id: 1 .*-> \(", printed)
    assert re.search(r"Produce\(0\): 0 to \d+ \[usable: \d+\]", printed)
    assert "UNKNOWN(" not in printed


def test_a_topic_is_altered_listed_and_described(tool: Tool, topic: str) -> None:
    tool(TOPICS, "--alter", "--topic", topic, "--partitions", "4")
    assert topic in tool(TOPICS, "--list").split()
    described = tool(TOPICS, "--describe", "--topic", topic)
    assert re.search(r"PartitionCount:\s*4\b", described)
    assert len(re.findall(r"Leader: 1\tReplicas: 1\tIsr: 1", described)) == 4
    assert tool(TOPICS, "--describe", "--topic", topic, "--under-replicated-partitions") == ""
    assert tool(TOPICS, "--describe", "--topic", topic, "--unavailable-partitions") == ""


def test_settings_of_a_topic_are_added_shown_and_deleted(tool: Tool, topic: str) -> None:
    entity = ("--entity-type", "topics", "--entity-name", topic)
    tool(CONFIGS, "--alter", *entity, "--add-config", "retention.ms=1234,cleanup.policy=[compact,delete]")
    described = tool(CONFIGS, "--describe", *entity)
    assert "retention.ms=1234" in described
    assert "cleanup.policy=compact,delete" in described
    tool(CONFIGS, "--alter", *entity, "--delete-config", "retention.ms")
    assert "retention.ms=" not in tool(CONFIGS, "--describe", *entity)


def test_all_settings_of_the_broker_are_shown(tool: Tool) -> None:
    printed = tool(CONFIGS, "--describe", "--entity-type", "brokers", "--entity-name", "1", "--all")
    assert re.search(r"^  num\.partitions=\d+ ", printed, re.MULTILINE)
    assert re.search(r"^  message\.max\.bytes=\d+ ", printed, re.MULTILINE)


def test_records_are_deleted_up_to_an_offset(tool: Tool, broker: Broker, topic: str, tmp_path: Path) -> None:
    produce(broker, topic, [b"v"] * 10)
    wanted = tmp_path / "offsets.json"
    wanted.write_text(json.dumps({"partitions": [{"topic": topic, "partition": 0, "offset": 4}], "version": 1}))
    printed = tool(f"{TOOLS}.DeleteRecordsCommand", "--offset-json-file", str(wanted))
    assert re.search(rf"partition: {topic}-0\tlow_watermark: 4", printed)
    printed = tool(f"{TOOLS}.GetOffsetShell", "--topic", topic, "--time", "earliest")
    assert printed.strip() == f"{topic}:0:4"


@pytest.mark.parametrize(
    ("when", "offset"), [("earliest", 0), ("latest", 3), ("max-timestamp", 1), ("2000", 1), ("3001", None)]
)
def test_offsets_are_found_by_every_kind_of_time(
    tool: Tool, broker: Broker, topic: str, when: str, offset: int | None
) -> None:
    for timestamp in (1000, 3000, 2000):
        send(broker, topic, b"v", timestamp=timestamp)
    printed = tool(f"{TOOLS}.GetOffsetShell", "--topic", topic, "--time", when)
    assert printed.strip() == ("" if offset is None else f"{topic}:0:{offset}")


def test_log_folders_tell_what_a_topic_takes(tool: Tool, broker: Broker, topic: str) -> None:
    produce(broker, topic, [b"v" * 1000] * 3)
    printed = tool(f"{TOOLS}.LogDirsCommand", "--describe", "--topic-list", topic)
    (line,) = [line for line in printed.splitlines() if line.startswith("{")]
    (node,) = json.loads(line)["brokers"]
    (folder,) = node["logDirs"]
    (partition,) = folder["partitions"]
    assert (node["broker"], folder["error"], partition["partition"]) == (1, None, f"{topic}-0")
    assert 3000 < partition["size"] < 4000
    assert (partition["offsetLag"], partition["isFuture"]) == (0, False)


def test_an_election_is_not_needed(tool: Tool, topic: str) -> None:
    printed = tool(
        f"{TOOLS}.LeaderElectionCommand", "--election-type", "preferred", "--topic", topic, "--partition", "0"
    )
    assert f"Valid replica already elected for partitions {topic}-0" in printed
    tool(f"{TOOLS}.LeaderElectionCommand", "--election-type", "preferred", "--all-topic-partitions")


def test_the_quorum_is_described(tool: Tool) -> None:
    status = tool(f"{TOOLS}.MetadataQuorumCommand", "describe", "--status")
    assert re.search(r"^LeaderId:\s+1$", status, re.MULTILINE)
    assert re.search(r"^MaxFollowerLag:\s+0$", status, re.MULTILINE)
    replication = tool(f"{TOOLS}.MetadataQuorumCommand", "describe", "--replication")
    assert re.search(r"^1\s+\S+\s+\d+\s+0\s+\d+\s+\d+\s+Leader\s*$", replication, re.MULTILINE)


def test_features_are_described(tool: Tool) -> None:
    printed = tool(f"{TOOLS}.FeatureCommand", "describe")
    for feature in ("group.version", "transaction.version"):
        assert re.search(rf"Feature: {re.escape(feature)}\s.*FinalizedVersionLevel: [12]\b", printed)


def test_reassignments_are_listed_carried_out_and_verified(tool: Tool, topic: str, tmp_path: Path) -> None:
    move = f"{TOOLS}.reassign.ReassignPartitionsCommand"
    assert "No partition reassignments found." in tool(move, "--list")
    wanted = tmp_path / "moves.json"
    wanted.write_text(json.dumps({"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": [1]}]}))
    executed = tool(move, "--reassignment-json-file", str(wanted), "--execute")
    assert "Successfully started partition reassignment" in executed
    verified = tool(move, "--reassignment-json-file", str(wanted), "--verify")
    assert f"Reassignment of partition {topic}-0 is completed." in verified


def test_a_group_is_listed_described_by_state_and_deleted(
    tool: Tool, broker: Broker, topic: str, group_name: str
) -> None:
    produce(broker, topic, [b"v"] * 5)
    with consumer(broker, group_name) as client:
        client.commit(offsets=[TopicPartition(topic, 0, 3)], asynchronous=False)
    assert group_name in tool(GROUPS, "--list").split()
    listed = tool(GROUPS, "--list", "--state")
    assert re.search(rf"^{group_name}\s+Classic\s.*Empty\s*$|^{group_name}\s+Empty\s*$", listed, re.MULTILINE)
    state = tool(GROUPS, "--describe", "--group", group_name, "--state")
    assert re.search(rf"{group_name}\s.*Empty\s.*0\s*$", state, re.MULTILINE)
    tool(GROUPS, "--delete-offsets", "--group", group_name, "--topic", topic)
    with consumer(broker, group_name) as client:
        assert client.committed([TopicPartition(topic, 0)], timeout=10)[0].offset < 0
    assert "was successful" in tool(GROUPS, "--delete", "--group", group_name)
    wait_until(lambda: group_name not in tool(GROUPS, "--list").split(), what="the group is gone")
