"""Contract: Apache Kafka's own consumer and group tool, with groups of the new consumer protocol (KIP-848)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer

from ottla.testing import Broker
from tests.contracts.clients import consumer, produce, read
from tests.contracts.test_consumer_group_clients import kind_and_size
from tests.contracts.test_java_tools import CONSOLE_CONSUMER, GROUPS, Tool, tool

__all__ = ["tool"]


@contextmanager
def polled(client: Consumer) -> Iterator[None]:
    """Keeps a member alive on a thread."""
    stop = threading.Event()

    def poll() -> None:
        while not stop.is_set():
            client.poll(0.1)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def columns(printed: str, first: str) -> list[list[str]]:
    """The lines whose first word is `first`, as words."""
    return [words for line in printed.splitlines() if (words := line.split()) and words[0] == first]


def test_the_java_consumer_speaks_the_new_protocol(tool: Tool, broker: Broker, topic: str, group_name: str) -> None:
    produce(broker, topic, [b"v%d" % number for number in range(5)])
    printed = tool(
        CONSOLE_CONSUMER, "--topic", topic, "--from-beginning", "--group", group_name, "--max-messages", "5",
        "--command-property", "group.protocol=consumer",
    )  # fmt: skip
    assert printed.split() == [f"v{number}" for number in range(5)]
    assert kind_and_size(broker, group_name) == ("consumer", 0)


def test_the_group_tool_shows_members_state_and_offsets(
    tool: Tool, broker: Broker, topic_of_3: str, group_name: str
) -> None:
    produce(broker, topic_of_3, [b"v"] * 3)
    with consumer(broker, group_name, group_protocol="consumer", enable_auto_commit=True) as member:
        member.subscribe([topic_of_3])
        read(member, 3)
        with polled(member):
            described = {
                what: tool(GROUPS, "--describe", "--group", group_name, *what.split())
                for what in ("--members --verbose", "--state", "--offsets")
            }
            listed = tool(GROUPS, "--list", "--state", "--type")
    (members,) = columns(described["--members --verbose"], group_name)
    assert f"{topic_of_3}:0,1,2" in " ".join(members)
    (state,) = columns(described["--state"], group_name)
    assert {"uniform", "Stable", "1"} <= set(state)
    assert [words[1:3] for words in sorted(columns(described["--offsets"], group_name))] == [
        [topic_of_3, str(n)] for n in range(3)
    ]
    assert [group_name, "Consumer", "Stable"] in columns(listed, group_name)


def test_the_group_tool_resets_and_deletes(tool: Tool, broker: Broker, topic_of_3: str, group_name: str) -> None:
    produce(broker, topic_of_3, [b"v"] * 5)
    with consumer(broker, group_name, group_protocol="consumer") as member:
        member.subscribe([topic_of_3])
        read(member, 5)
        member.commit(asynchronous=False)
    one = f"{topic_of_3}:0"

    def offsets() -> list[str]:
        printed = tool(GROUPS, "--describe", "--group", group_name, "--offsets")
        return [words[3] for words in columns(printed, group_name) if words[2] == "0"]

    assert offsets() == ["5"]
    tool(GROUPS, "--reset-offsets", "--group", group_name, "--topic", one, "--to-offset", "2", "--execute")
    assert offsets() == ["2"]
    tool(GROUPS, "--delete-offsets", "--group", group_name, "--topic", one)
    assert offsets() == []
    assert "successful" in tool(GROUPS, "--delete", "--group", group_name)
    assert kind_and_size(broker, group_name) == ("classic", 0)
