"""`ottla dlq`: dead letters on the command line, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ottla import KafkaSettings
from ottla.cli.avro_json import encode_json
from ottla.kafka.admin import Admin
from ottla.kafka.producer import Producer
from ottla.kafka.reader import read_topic
from ottla.kafka.record import Record
from ottla.registry.client import RegistryClient
from ottla.serde import wire
from ottla.testing import Broker, EmbeddedRegistry
from tests.cli.conftest import Ottla, Outcome, Running
from tests.contracts.clients import wait_until

Command = Callable[..., Outcome]
SCHEMA = {"type": "record", "name": "Ordered", "fields": [{"name": "order_id", "type": "string"}]}


class Died:
    """A topic, and letters of it."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self.kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
        self.topic = topic
        Admin(self.kafka).ensure_topics({topic: 1, f"{topic}-dlq": 1})

    def die(self, value: bytes, *, error: str = "shop.Broken", handler: str = "reserve") -> None:
        producer = Producer(self.kafka)
        headers: list[tuple[str, bytes | None]] = [
            ("ce_id", b"e-1"),
            ("kafka_dlt-original-topic", self.topic.encode()),
            ("kafka_dlt-original-partition", bytes(4)),
            ("kafka_dlt-original-offset", (7).to_bytes(8, "big")),
            ("kafka_dlt-exception-fqcn", error.encode()),
            ("kafka_dlt-exception-message", b"no such item\nas line two says"),
            ("kafka_dlt-exception-stacktrace", b"Traceback ...\nshop.Broken"),
            ("ottla-handler", handler.encode()),
            ("ottla-service", b"inventory"),
            ("ottla-attempts", b"3"),
        ]
        producer.send(f"{self.topic}-dlq", value, key=b"o-1", headers=headers)
        assert producer.close() == 0

    def came_back(self) -> list[Record]:
        return list(read_topic(self.kafka, self.topic))


@pytest.fixture
def died(broker: Broker, topic_name: str) -> Died:
    return Died(broker, topic_name)


@pytest.fixture
def dlq(ottla: Ottla, broker: Broker) -> Command:
    """`ottla dlq ...` on the test's broker."""

    def call(*arguments: str) -> Outcome:
        return ottla("dlq", *arguments, "-b", broker.bootstrap_servers)

    return call


def test_letters_are_grouped_by_what_went_wrong(dlq: Command, died: Died) -> None:
    for _ in range(2):
        died.die(b"a")
    died.die(b"b", error="shop.Other", handler="release")
    groups = dlq("list", died.topic, "--json").document["groups"]
    assert [(group["exception"], group["handler"], group["count"]) for group in groups] == [
        ("shop.Broken", "reserve", 2),
        ("shop.Other", "release", 1),
    ]
    assert groups[0]["example"] == "0:0"
    table = dlq("list", f"{died.topic}-dlq").out.splitlines()
    assert table[0].split() == ["EXCEPTION", "HANDLER", "SERVICE", "COUNT", "FIRST", "LAST", "EXAMPLE"]


def test_each_letter_has_a_line_and_all_topics_one(dlq: Command, died: Died) -> None:
    died.die(b"a")
    (letter,) = dlq("list", died.topic, "--each", "--json").documents
    assert (letter["id"], letter["state"], letter["offset"], letter["attempts"]) == ("0:0", "open", 7, 3)
    line = dlq("list", died.topic, "--each").out.splitlines()[1]
    assert "no such item" in line
    assert "line two" not in line
    topics = {one["topic"]: one for one in dlq("list", "--json").document["topics"]}
    assert topics[f"{died.topic}-dlq"]["open"] == 1


def test_one_letter_is_shown_with_its_value_and_trace(dlq: Command, died: Died) -> None:
    died.die(b"the value")
    shown = dlq("show", died.topic, "0:0")
    assert "value: the value" in shown.out
    assert "  ce_id: e-1" in shown.out
    assert shown.out.endswith("Traceback ...\nshop.Broken\n")
    document = dlq("show", died.topic, "0:0", "--json").document
    assert (document["value"], document["format"], document["headers"]) == ("the value", "text", {"ce_id": "e-1"})


def test_a_replay_asks_first_and_says_what_it_did(dlq: Command, died: Died) -> None:
    died.die(b"a")
    refused = dlq("replay", died.topic)
    assert refused.status == 1
    assert "--yes" in refused.err
    assert dlq("replay", died.topic, "--dry-run").out == f"{died.topic}-dlq: would be: 1 replayed\n"
    assert died.came_back() == []
    assert dlq("replay", died.topic, "--yes").out == f"{died.topic}-dlq: 1 replayed\n"
    (record,) = died.came_back()
    assert (record.key, record.value, dict(record.headers)["ottla-replays"]) == (b"o-1", b"a", b"1")
    assert dlq("replay", died.topic, "--yes").out == f"{died.topic}-dlq: no dead letter fits\n"


def test_after_ctrl_c_each_letter_has_come_back_once_or_is_still_open(
    start: Callable[..., Running], dlq: Command, died: Died, broker: Broker
) -> None:
    values = [b"v-%d" % number for number in range(12)]
    for value in values:
        died.die(value)
    replaying = start("dlq", "replay", died.topic, "--yes", "--rate", "1", "-b", broker.bootstrap_servers)
    wait_until(died.came_back, what="the first one")
    assert replaying.stop(signal.SIGINT) == 130
    replaying.wait_for("the other letters are still open, run it again to go on")
    assert "Traceback" not in replaying.output
    first = len(died.came_back())
    assert 0 < first < len(values)
    assert dlq("replay", died.topic, "--yes").out == f"{died.topic}-dlq: {len(values) - first} replayed\n"
    assert [record.value for record in died.came_back()] == values


def test_only_what_is_chosen_is_replayed(dlq: Command, died: Died) -> None:
    died.die(b"a")
    died.die(b"b", error="shop.Other")
    died.die(b"c")
    assert dlq("replay", died.topic, "0:2", "--yes", "--json").document["replayed"] == 1
    assert dlq("replay", died.topic, "-e", "Other", "--yes", "--json").document["replayed"] == 1
    assert [record.value for record in died.came_back()] == [b"c", b"b"]


def test_a_purged_letter_is_gone(dlq: Command, died: Died) -> None:
    died.die(b"a")
    assert dlq("purge", died.topic, "--yes", "--reason", "a test").out == f"{died.topic}-dlq: 1 purged\n"
    assert dlq("list", died.topic).err.startswith("no such dead letters")


def test_a_text_is_edited_by_option_file_or_editor(
    dlq: Command, died: Died, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        died.die(b"broken")
    assert dlq("edit", died.topic, "0:0", "--value", "mended").status == 0
    (tmp_path / "value").write_bytes(b"\xff\x00")
    assert dlq("edit", died.topic, "0:1", "--value-file", str(tmp_path / "value")).status == 0
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import sys; t = open(sys.argv[1]).read(); open(sys.argv[1], 'w').write(t.replace('ken', 'ken and edited'))"
    )
    monkeypatch.setenv("EDITOR", f"{sys.executable} {editor}")
    assert dlq("edit", died.topic, "0:2").status == 0
    assert [record.value for record in died.came_back()] == [b"mended", b"\xff\x00", b"broken and edited"]
    unchanged = dlq("edit", died.topic, "0:2", "--value", "broken")
    assert unchanged.status == 1
    assert "nothing was changed" in unchanged.err


def test_avro_is_edited_as_json_and_written_by_the_schema_it_had(ottla: Ottla, broker: Broker, died: Died) -> None:
    with EmbeddedRegistry(broker.bootstrap_servers) as registry:
        schema_id = RegistryClient(registry.url).register(f"{died.topic}-Ordered", json.dumps(SCHEMA))
        died.die(wire.frame(schema_id, encode_json({"order_id": "o-?"}, SCHEMA)))
        there = ("-b", broker.bootstrap_servers, "--registry-url", registry.url)
        shown = ottla("dlq", "show", died.topic, "0:0", "--json", *there).document
        assert shown["value"] == {"order_id": "o-?"}
        wrong = ottla("dlq", "edit", died.topic, "0:0", "--value", '{"order_id": 1}', *there)
        assert wrong.status == 1
        assert "order_id" in wrong.err
        assert ottla("dlq", "edit", died.topic, "0:0", "--value", '{"order_id": "o-1"}', *there).status == 0
        (record,) = died.came_back()
        assert record.value == wire.frame(schema_id, encode_json({"order_id": "o-1"}, SCHEMA))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "no-such"], "nothing of 'no-such' has died"),
        (["show", "{topic}", "zero"], "PARTITION:OFFSET"),
        (["show", "{topic}", "0:99"], "has no dead letter 0:99"),
        (["edit", "{topic}", "0:0", "--value", "x", "--value-file", "y"], "give one of them"),
        (["edit", "{topic}", "0:0", "--value-file", "no-such-file"], "No such file"),
        (["replay", "{topic}", "--to", "no-such-topic", "--yes"], "goes to no-such-topic, which does not exist"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(dlq: Command, died: Died, arguments: list[str], said: str) -> None:
    died.die(b"a")
    outcome = dlq(*(argument.replace("{topic}", died.topic) for argument in arguments))
    assert outcome.status == 1
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
