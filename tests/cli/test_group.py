"""`ottla group` and `ottla lag`, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

from collections.abc import Iterator

import confluent_kafka
import pytest

from ottla.testing import Broker
from tests.cli.conftest import Ottla, Outcome


@pytest.fixture
def behind(ottla: Ottla, broker: Broker, topic_name: str, group_name: str) -> Iterator[confluent_kafka.Consumer]:
    """A member of a group that has committed 2 of the 5 records on partition 0, and is still there."""
    server = ["-b", broker.bootstrap_servers]
    assert ottla("topic", "create", topic_name, "--partitions", "2", *server).status == 0
    lines = "".join(f"{number}\n" for number in range(5))
    assert ottla("topic", "produce", topic_name, "--partition", "0", *server, stdin=lines).status == 0
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": group_name,
            "client.id": "the-client",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic_name])
    message = None
    while message is None:
        message = consumer.poll(1)
    assert message.error() is None
    consumer.commit(offsets=[confluent_kafka.TopicPartition(topic_name, 0, 2)], asynchronous=False)
    yield consumer
    consumer.close()


@pytest.fixture
def ask(ottla: Ottla, broker: Broker, behind: confluent_kafka.Consumer) -> Ottla:
    def call(*arguments: str, stdin: str = "") -> Outcome:
        return ottla(*arguments, "-b", broker.bootstrap_servers, stdin=stdin)

    return call


def test_groups_are_listed_with_their_state(ask: Ottla, group_name: str) -> None:
    assert {"group": group_name, "state": "STABLE"} in ask("group", "list", "--json").document["groups"]
    rows = [line.split() for line in ask("group", "list").out.splitlines()]
    assert rows[0] == ["GROUP", "STATE"]
    assert [group_name, "STABLE"] in rows


def test_a_described_group_has_its_members_and_how_far_they_are(ask: Ottla, topic_name: str, group_name: str) -> None:
    shown = ask("group", "describe", group_name, "--json").document
    assert (shown["group"], shown["state"], shown["lag"]) == (group_name, "STABLE", 3)
    (member,) = shown["members"]
    assert member["client_id"] == "the-client"
    assert member["assignment"] == [[topic_name, 0], [topic_name, 1]]
    first = shown["partitions"][0]
    assert 0 < first.pop("seconds") < 60
    assert first == {"topic": topic_name, "partition": 0, "committed": 2, "end": 5, "lag": 3}


def test_the_table_of_a_group_names_the_client_of_each_partition(ask: Ottla, topic_name: str, group_name: str) -> None:
    title, header, first, second = ask("group", "describe", group_name).out.splitlines()
    assert title.startswith(f"{group_name}: stable, 1 member,")
    assert header.split()[:6] == ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "AGE"]
    assert first.split()[:5] == [topic_name, "0", "2", "5", "3"]
    assert second.split()[:7] == [topic_name, "1", "-", "0", "0", "0", "s"]
    assert "the-client" in first
    assert "the-client" in second


def test_lag_is_shown_for_each_partition_and_in_total(ask: Ottla, topic_name: str, group_name: str) -> None:
    shown = ask("lag", group_name, "--json").document
    (group,) = shown["groups"]
    age = group["partitions"][0].pop("seconds")
    assert 0 < age < 60
    assert group.pop("seconds") == age
    assert group["partitions"][1].pop("seconds") == 0
    assert shown == {
        "groups": [
            {
                "group": group_name,
                "lag": 3,
                "partitions": [
                    {"topic": topic_name, "partition": 0, "committed": 2, "end": 5, "lag": 3},
                    {"topic": topic_name, "partition": 1, "committed": None, "end": 0, "lag": 0},
                ],
            }
        ]
    }
    header, first, second, total = (line.split() for line in ask("lag", group_name).out.splitlines())
    assert header == ["GROUP", "TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "AGE"]
    assert first[:6] == [group_name, topic_name, "0", "2", "5", "3"]
    assert second == [group_name, topic_name, "1", "-", "0", "0", "0", "s"]
    assert (total[0], total[1], total[-3], total[-1]) == (group_name, "total", "3", "s")


def test_lag_of_all_groups_has_this_one(ask: Ottla, group_name: str) -> None:
    groups = {entry["group"]: entry["lag"] for entry in ask("lag", "--json").document["groups"]}
    assert groups[group_name] == 3


def test_records_of_a_partition_without_a_commit_all_count(
    ask: Ottla, topic_name: str, group_name: str, broker: Broker
) -> None:
    sent = ask("topic", "produce", topic_name, "--partition", "1", stdin="a\nb\n")
    assert sent.status == 0, sent.err
    (shown,) = ask("lag", group_name, "--json").document["groups"]
    assert [part["lag"] for part in shown["partitions"]] == [3, 2]
    assert shown["lag"] == 5


@pytest.mark.parametrize("command", [("group", "describe"), ("lag",)], ids=" ".join)
def test_an_unknown_group_is_an_error_that_names_the_likely_one(
    ask: Ottla, group_name: str, command: tuple[str, ...]
) -> None:
    shown = ask(*command, group_name + "x")
    assert shown.status == 1
    assert f"there is no consumer group {group_name + 'x'!r}" in shown.err
    assert f"did you mean {group_name!r}" in shown.err
