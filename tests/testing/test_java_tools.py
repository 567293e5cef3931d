"""One JVM runs Apache Kafka's tools one after another, and each behaves as in a JVM of its own."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from ottla.errors import ServerFailed
from ottla.testing import EmbeddedBroker, KafkaHome
from ottla.testing.java_tools import JavaTools
from ottla.testing.kafka_home import JVM_OPTIONS
from tests.conftest import IN_CI

TOPICS = "org.apache.kafka.tools.TopicCommand"
CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
PRODUCER = "org.apache.kafka.tools.VerifiableProducer"
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def tools() -> Iterator[JavaTools]:
    try:
        home = KafkaHome.find()
    except ServerFailed as missing:
        (pytest.fail if IN_CI else pytest.skip)(str(missing))
    made = JavaTools([home.java, "-Xmx256m", *JVM_OPTIONS, "-cp", f"{home.libs}/*"])
    yield made
    made._end()


def run(
    tools: JavaTools, main: str, *arguments: str, timeout_s: float = PATIENCE_S
) -> subprocess.CompletedProcess[str]:
    done = tools.run(main, arguments, "", timeout_s)
    assert done is not None
    return done


def test_status_and_output_are_those_of_each_run(tools: JavaTools, kafka: EmbeddedBroker, topic_name: str) -> None:
    server = ("--bootstrap-server", kafka.bootstrap_servers)
    assert run(tools, TOPICS, *server, "--create", "--topic", topic_name).stdout == f"Created topic {topic_name}.\n"
    again = run(tools, TOPICS, *server, "--create", "--topic", topic_name)
    assert again.returncode == 1
    assert "already exists" in again.stdout + again.stderr
    wrong = run(tools, TOPICS, "--nonsense")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "nonsense" in wrong.stderr
    assert run(tools, TOPICS, *server, "--list").stderr == ""


def test_what_a_tool_says_at_the_end_of_its_jvm_is_heard(
    tools: JavaTools, kafka: EmbeddedBroker, topic_name: str
) -> None:
    server = ("--bootstrap-server", kafka.bootstrap_servers)
    done = run(tools, PRODUCER, *server, "--topic", topic_name, "--max-messages", "5")
    assert done.returncode == 0
    assert done.stdout.count("producer_send_success") == 5
    assert "shutdown_complete" in done.stdout


def test_a_tool_that_runs_too_long_is_ended_and_the_next_one_runs(
    tools: JavaTools, kafka: EmbeddedBroker, topic_name: str
) -> None:
    server = ("--bootstrap-server", kafka.bootstrap_servers)
    run(tools, TOPICS, *server, "--create", "--topic", topic_name)
    waiting = threading.Thread(target=wait_for_nothing, args=(tools, server, topic_name))
    waiting.start()
    while tools.run(TOPICS, ["--version"], "", PATIENCE_S) is not None:
        assert waiting.is_alive()
        time.sleep(0.01)
    waiting.join(PATIENCE_S)
    assert topic_name in run(tools, TOPICS, *server, "--list").stdout.split()


def wait_for_nothing(tools: JavaTools, server: tuple[str, str], topic: str) -> None:
    while True:
        try:
            busy = tools.run(CONSUMER, [*server, "--topic", topic], "", 0.5) is None
        except subprocess.TimeoutExpired:
            return
        assert busy, "the consumer ended by itself"
