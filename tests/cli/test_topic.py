"""`ottla topic`: topics and their records, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ottla import event
from ottla.events import avro_schema
from ottla.registry.client import RegistryClient
from ottla.testing import Broker, EmbeddedBroker, EmbeddedRegistry
from tests.cli.conftest import Ottla, Outcome, Running

Command = Callable[..., Outcome]


@pytest.fixture
def topic(ottla: Ottla, broker: Broker) -> Command:
    """`ottla topic ...` on the test's broker."""

    def call(*arguments: str, stdin: str = "") -> Outcome:
        return ottla("topic", *arguments, "-b", broker.bootstrap_servers, stdin=stdin)

    return call


@pytest.fixture
def orders(topic: Command, topic_name: str) -> str:
    """A topic with two partitions; partition 0 holds three records."""
    assert topic("create", topic_name, "--partitions", "2").status == 0
    lines = "k1=one\nk2=two\nk3=three\n"
    sent = topic("produce", topic_name, "--key-separator", "=", "--partition", "0", "-H", "h=x", stdin=lines)
    assert sent.status == 0, sent.err
    return topic_name


def test_a_created_topic_is_listed_and_described(topic: Command, topic_name: str) -> None:
    created = topic("create", topic_name, "--partitions", "3", "--config", "retention.ms=60000", "--json")
    assert created.document == {"name": topic_name, "partitions": 3, "created": True}
    assert {"name": topic_name, "partitions": 3} in topic("list", "--json").document["topics"]
    shown = topic("describe", topic_name, "--json").document
    assert shown["name"] == topic_name
    assert [part["partition"] for part in shown["partitions"]] == [0, 1, 2]
    assert {"leader", "replicas", "in_sync_replicas", "earliest", "latest"} <= shown["partitions"][0].keys()
    assert shown["config"]["retention.ms"] == "60000"


def test_creating_a_topic_twice_is_an_error_unless_allowed(topic: Command, topic_name: str) -> None:
    assert topic("create", topic_name, "-p", "2").out == f"{topic_name}: created, 2 partitions\n"
    again = topic("create", topic_name)
    assert again.status == 1
    assert "exists already" in again.err
    assert topic("create", topic_name, "--if-not-exists", "--json").document == {
        "name": topic_name,
        "partitions": 2,
        "created": False,
    }


def test_a_deleted_topic_is_gone(topic: Command, topic_name: str) -> None:
    topic("create", topic_name)
    assert topic("delete", topic_name, "--yes", "--json").document == {"deleted": [topic_name]}
    assert topic_name not in topic("list").out


def test_a_topic_is_not_deleted_without_a_yes(topic: Command, topic_name: str) -> None:
    topic("create", topic_name)
    refused = topic("delete", topic_name)
    assert refused.status == 1
    assert "--yes" in refused.err
    assert topic_name in topic("list").out


def test_tables_to_a_pipe_are_plain_aligned_text(topic: Command, orders: str) -> None:
    header, *rows = topic("list").out.splitlines()
    assert header.split() == ["TOPIC", "PARTITIONS"]
    row = next(row for row in rows if row.startswith(orders))
    assert row.split() == [orders, "2"]
    assert len(row) == len(header)
    assert not set("│─╭\x1b") & set("".join(rows))


def test_describe_shows_where_each_partition_begins_and_ends(topic: Command, orders: str) -> None:
    title, header, first, second = topic("describe", orders).out.splitlines()
    assert title == f"{orders}: 2 partitions, 3 offsets in use"
    assert header.split()[0] == "PARTITION"
    assert first.split()[-3:] == ["0", "3", "3"]
    assert second.split()[-3:] == ["0", "0", "0"]


@pytest.mark.parametrize("command", ["describe", "consume", "produce", "delete"])
def test_an_unknown_topic_is_an_error_that_names_the_likely_one(topic: Command, orders: str, command: str) -> None:
    wrong = orders + "x"
    extra = {"produce": ["-v", "1"], "delete": ["--yes"]}.get(command, [])
    shown = topic(command, wrong, *extra)
    assert shown.status == 1
    assert f"there is no topic {wrong!r}" in shown.err
    assert f"did you mean {orders!r}" in shown.err
    assert len(shown.err.splitlines()) == 1
    assert wrong not in topic("list").out.split(), "asking for a topic has created it"


def test_produce_says_where_each_record_lies(topic: Command, topic_name: str) -> None:
    topic("create", topic_name, "-p", "1")
    sent = topic("produce", topic_name, "--json", stdin="one\ntwo\n")
    assert [(doc["topic"], doc["partition"], doc["offset"]) for doc in sent.documents] == [
        (topic_name, 0, 0),
        (topic_name, 0, 1),
    ]
    assert topic("produce", topic_name, "--value", "three").out == f"{topic_name}[0]@2\n"


def test_consume_prints_one_line_for_a_record(topic: Command, orders: str) -> None:
    lines = topic("consume", orders, "--exit-at-end").out.splitlines()
    place, time, key, form, value = lines[0].split("\t")
    assert (place, key, form, value) == ("0:0", "k1", "text", "one")
    assert datetime.strptime(time, "%Y-%m-%dT%H:%M:%S.%fZ")
    assert [line.split("\t")[-1] for line in lines] == ["one", "two", "three"]


def test_consume_prints_headers_when_asked(topic: Command, orders: str) -> None:
    lines = topic("consume", orders, "--exit-at-end", "--headers", "-n", "1").out.splitlines()
    assert lines[1:] == ["\th: x"]


def test_a_consumed_record_in_json_has_everything(topic: Command, orders: str) -> None:
    (record, *_) = topic("consume", orders, "--exit-at-end", "--json").documents
    assert datetime.fromisoformat(record.pop("timestamp")).tzinfo is not None
    assert record == {
        "topic": orders,
        "partition": 0,
        "offset": 0,
        "key": "k1",
        "key_format": "text",
        "value": "one",
        "format": "text",
        "schema_id": None,
        "headers": {"h": "x"},
    }


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (["--exit-at-end"], ["one", "two", "three"]),
        (["--from-beginning", "--max-messages", "2"], ["one", "two"]),
        (["--from-beginning", "--partition", "1", "--exit-at-end"], []),
        (["--partition", "0", "--offset", "1", "--exit-at-end"], ["two", "three"]),
        (["--partition", "0", "--offset", "99", "--exit-at-end"], []),
        (["--offset", "-2", "--exit-at-end"], ["two", "three"]),
        (["--offset", "-99", "-n", "1"], ["one"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("-") else "",
)
def test_consume_starts_and_stops_where_it_is_told(
    topic: Command, orders: str, options: list[str], values: list[str]
) -> None:
    shown = topic("consume", orders, "--json", *options)
    assert shown.status == 0, shown.err
    assert [document["value"] for document in shown.documents] == values


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--offset", "1"], "--offset 1 needs --partition"),
        (["--offset", "1", "--partition", "0", "--from-beginning"], "contradict"),
        (["--partition", "2"], "numbered 0 to 1"),
    ],
)
def test_consume_refuses_a_start_that_makes_no_sense(
    topic: Command, orders: str, options: list[str], complaint: str
) -> None:
    shown = topic("consume", orders, *options)
    assert shown.status == 1
    assert complaint in shown.err


def test_consume_follows_what_is_written_later(
    start: Callable[..., Running], topic: Command, orders: str, broker: Broker
) -> None:
    following = start("topic", "consume", orders, "--offset", "-1", "-b", broker.bootstrap_servers)
    following.wait_for("\tthree$")
    topic("produce", orders, "-v", "later", "-p", "1")
    following.wait_for("^1:0\t.*\tlater$")


def test_bytes_that_are_no_text_are_shown_in_base64(topic: Command, topic_name: str) -> None:
    topic("create", topic_name)
    topic("produce", topic_name, "--value", "bell \x07")
    (record,) = topic("consume", topic_name, "--exit-at-end", "--json").documents
    assert (record["format"], record["value"]) == ("base64", "YmVsbCAH")


def test_a_bad_header_and_a_line_without_separator_are_explained(topic: Command, orders: str) -> None:
    assert "expected NAME=VALUE" in topic("produce", orders, "-v", "1", "-H", "nothing").err
    shown = topic("produce", orders, "--key-separator", ":", stdin="k:fine\nnot so\n")
    assert shown.status == 1
    assert "line 2 of standard input has no ':'" in shown.err


# ---------------------------------------------------------------------- Avro, with the schema registry


@event("order-events", key="order_id", namespace="shop")
@dataclass
class OrderPlaced:
    order_id: str
    total: Decimal
    placed_at: datetime
    note: str | None = None


PLACED = {"order_id": "o-1", "total": "12.50", "placed_at": "2026-01-31T08:15:02.123456Z", "note": None}


@pytest.fixture
def avro(ottla: Ottla, kafka: EmbeddedBroker, kafka_registry: EmbeddedRegistry, topic_name: str) -> Command:
    """`ottla topic ACTION TOPIC ...` with the test session's registry, in which the event is registered."""
    subject = f"{topic_name}-shop.OrderPlaced"
    RegistryClient(kafka_registry.url).register(subject, json.dumps(avro_schema(OrderPlaced)))
    servers = ["-b", kafka.bootstrap_servers, "--registry-url", kafka_registry.url]
    assert ottla("topic", "create", topic_name, "-b", kafka.bootstrap_servers).status == 0

    def call(action: str, *arguments: str, stdin: str = "") -> Outcome:
        extra = ["--schema-of", subject] if action == "produce" else ["--exit-at-end"]
        return ottla("topic", action, topic_name, *extra, *servers, *arguments, stdin=stdin)

    return call


def test_json_is_written_as_avro_and_shown_as_json_again(avro: Command) -> None:
    sent = avro("produce", "--key", "o-1", stdin=json.dumps(PLACED) + "\n")
    assert sent.status == 0, sent.err
    (record,) = avro("consume", "--json").documents
    assert record["format"] == "avro"
    assert isinstance(record["schema_id"], int)
    assert record["value"] | {"total": Decimal(record["value"]["total"])} == PLACED | {"total": Decimal("12.50")}
    assert datetime.fromisoformat(record["value"]["placed_at"]) == datetime(2026, 1, 31, 8, 15, 2, 123456, UTC)


def test_the_line_for_a_person_names_the_schema(avro: Command) -> None:
    avro("produce", stdin=json.dumps(PLACED) + "\n")
    (line,) = avro("consume").out.splitlines()
    _place, _time, key, form, value = line.split("\t")
    assert key == "-"
    assert form.startswith("avro#")
    assert json.loads(value)["order_id"] == "o-1"


def test_json_that_does_not_fit_the_schema_is_refused_with_the_field(avro: Command) -> None:
    shown = avro("produce", stdin=json.dumps(PLACED | {"order_id": 7}) + "\n")
    assert shown.status == 1
    assert "value.order_id: expected text, got 7" in shown.err
    assert avro("consume").out == ""


def test_an_unknown_subject_is_an_error(avro: Command) -> None:
    shown = avro("produce", "--schema-of", "no-such-subject", "-v", "{}")
    assert shown.status == 1
    assert "no-such-subject" in shown.err


def test_without_a_registry_values_are_shown_undecoded_and_that_is_said(avro: Command) -> None:
    avro("produce", stdin=(json.dumps(PLACED) + "\n") * 2)
    shown = avro("consume", "--registry-url", "http://127.0.0.1:1", "--json")
    assert shown.status == 0
    assert [record["format"] for record in shown.documents] == ["base64", "base64"]
    assert shown.err.count("note: values are not decoded") == 1
    assert "http://127.0.0.1:1" in shown.err


def test_damaged_avro_is_shown_in_base64_and_said_where_it_lies(
    avro: Command, kafka: EmbeddedBroker, topic_name: str
) -> None:
    import confluent_kafka

    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(topic_name, b"\x00\x00\x00\xff\xff\x80", partition=0)
    producer.flush(10)
    shown = avro("consume", "--json")
    assert shown.documents[0]["format"] == "base64"
    assert f"{topic_name}[0]@0 is not decoded" in shown.err


# ---------------------------------------------------------------------- shell completion


def completed(words: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "ottla.cli"],
        env={"_OTTLA_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.split()


def test_topic_names_are_completed_from_the_cluster(orders: str, broker: Broker) -> None:
    server = {"OTTLA_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers}
    assert completed(f"ottla topic describe {orders[:8]}", **server) == [orders]


def test_without_a_cluster_nothing_is_completed_and_nothing_breaks() -> None:
    assert completed("ottla topic describe t", OTTLA_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1") == []
