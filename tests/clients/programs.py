"""The scenario by programs: kafkajs, franz-go, kcat, and the tools that come with Apache Kafka."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ottla.testing import KafkaHome
from ottla.testing.kafka_home import JVM_OPTIONS
from tests.clients.scenario import PARTITIONS, Consumed, Content, Plan, Report, report_of

HERE = Path(__file__).parent
FETCH = "run tools/clients/fetch"
PATIENCE_S = 90.0


def home() -> Path:
    """Where tools/clients/fetch puts what it makes."""
    return Path(os.environ.get("OTTLA_CLIENTS_HOME") or Path.home() / ".cache" / "ottla" / "clients")


def missing(client: str) -> str | None:
    """Why a client cannot be run here; None if it can."""
    if client == "kafkajs":
        return None if (home() / "kafkajs" / "node").exists() else f"no kafkajs in {home()}; {FETCH}"
    if client == "franz-go":
        return None if (home() / "franz-go" / "client").exists() else f"no franz-go client in {home()}; {FETCH}"
    if client == "Confluent Java":
        if not (home() / "confluent-java").exists():
            return f"no Confluent serializers for Java in {home()}; {FETCH}"
        return None if shutil.which("java") else "there is no 'java' on the PATH"
    if client == "kcat with Avro":
        return None if _kcat_avro() else "neither OTTLA_KCAT nor 'kcat' on the PATH was built with Avro"
    if client == "kcat":
        return None if shutil.which("kcat") else "there is no 'kcat' on the PATH"
    return KafkaHome.missing()


def run(command: Sequence[str | Path], *, stdin: str = "", env: dict[str, str] | None = None) -> str:
    """Runs a program to its end and gives what it printed. One that fails fails the test with what it said."""
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, f"{command}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_kafkajs(plan: Plan) -> Report:
    installed = home() / "kafkajs"
    env = {"NODE_PATH": str(installed / "node_modules"), "KAFKAJS_NO_PARTITIONER_WARNING": "1"}
    return report_of(run([installed / "node", HERE / "kafkajs" / "client.js", plan.to_json()], env=env))


def run_franz_go(plan: Plan) -> Report:
    return report_of(run([home() / "franz-go" / "client", plan.to_json()]))


# --- kcat ---


def run_kcat(plan: Plan) -> Report:
    """kcat (in Debian 1.7, librdkafka 2.0) tells no offsets of what it produced, and commits none in transactions."""
    kcat = ["kcat", "-b", plan.bootstrap, "-X", "enable.idempotence=true"]
    lines = {p: [f"key-{n}|value-{n}" for n in range(p, plan.count, PARTITIONS)] for p in range(PARTITIONS)}
    for partition, part in lines.items():
        produce = ["-P", "-t", plan.topic, "-p", str(partition), "-K", "|", "-z", "snappy", "-H", "n=kcat"]
        run([*kcat, *produce], stdin="\n".join(part) + "\n")
    consume = ["-X", "auto.offset.reset=earliest", "-c", str(plan.count), "-f", r"%p|%o|%k|%s|%h\n", "-G", plan.group]
    printed = run(["kcat", "-q", "-b", plan.bootstrap, *consume, plan.topic])
    rows = [line.split("|") for line in printed.splitlines()]
    consumed = [Consumed(int(row[0]), int(row[1]), row[2], row[3], row[4].partition("=")[2]) for row in rows]
    for partition, part in lines.items():
        copies = "".join(f"copy of {line.partition('|')[2]}\n" for line in part)
        transact = ["-X", f"transactional.id={plan.transactional_id}", "-P", "-t", plan.copies, "-p", str(partition)]
        run([*kcat, *transact], stdin=copies)
    return Report(consumed, transacted=True)


def _kcat_avro() -> str | None:
    """A kcat with Avro in it, which Debian's has not: built with libserdes, and named by OTTLA_KCAT."""
    found = os.environ.get("OTTLA_KCAT") or shutil.which("kcat")
    return found if found and "Avro" in run([found, "-V"]) else None


def run_kcat_avro(bootstrap: str, registry: str, topic: str) -> list[str]:
    """All records of a topic, decoded: the key's and the value's JSON with a tab between."""
    kcat = _kcat_avro()
    assert kcat is not None
    decoding = ["-s", "key=avro", "-s", "value=avro", "-r", registry, "-f", r"%k\t%s\n"]
    return run([kcat, "-q", "-b", bootstrap, "-C", "-t", topic, "-e", *decoding]).splitlines()


KCAT_CONTENT = Content(headers=lambda n: [("n", b"kcat")])


# --- Java: Confluent's serializers, and the tools that come with Apache Kafka ---


def run_confluent_java(*arguments: str) -> str:
    """Runs Serdes.java, which says what it does with its arguments."""
    jars = home() / "confluent-java" / "*"
    return run(["java", *JVM_OPTIONS, "-cp", str(jars), HERE / "confluent-java" / "Serdes.java", *arguments])


KEYS = 7  # VerifiableProducer's keys repeat; the partitioner finds a partition for each


def run_java(plan: Plan) -> Report:
    """VerifiableProducer, VerifiableConsumer in the new consumer protocol, TransactionalMessageCopier."""
    server = ("--bootstrap-server", plan.bootstrap)
    count = ("--max-messages", str(plan.count))
    with TemporaryDirectory() as folder:
        config = Path(folder) / "producer.properties"
        config.write_text("compression.type=lz4\nenable.idempotence=true\nretries=9\n")
        produced = _tool(
            "VerifiableProducer", *server, *count, "--topic", plan.topic, "--acks", "-1", "--repeating-keys", str(KEYS),
            "--command-config", str(config),
        )  # fmt: skip
    acknowledged = [
        (int(event["value"]), event["partition"], event["offset"])
        for event in produced
        if event["name"] == "producer_send_success"
    ]
    read = _tool(
        "VerifiableConsumer", *server, *count, "--topic", plan.topic, "--group-id", plan.group, "--verbose",
        "--group-protocol", "CONSUMER", "--reset-policy", "earliest",
    )  # fmt: skip
    consumed = [
        Consumed(event["partition"], event["offset"], event["key"], event["value"], None)
        for event in read
        if event["name"] == "record_data"
    ]
    for partition in range(PARTITIONS):
        _tool(
            "TransactionalMessageCopier", "--broker-list", plan.bootstrap, "--input-topic", plan.topic,
            "--input-partition", str(partition), "--output-topic", plan.copies, "--consumer-group",
            plan.transactional_group, "--transaction-size", "20", "--transactional-id", plan.transactional_id,
            "--enable-random-aborts",
        )  # fmt: skip
    # Each transaction is aborted with a chance of a third: that none is cannot be ruled out.
    return Report(consumed, acknowledged, transacted=True, offsets_in_transaction=True)


def _tool(name: str, *arguments: str) -> list[dict[str, Any]]:
    """Runs a tool to its end and gives the events it printed, one JSON object a line."""
    done = KafkaHome.find().run(f"org.apache.kafka.tools.{name}", *arguments, timeout_s=PATIENCE_S)
    assert done.returncode == 0, f"{name} {arguments}: {done.stdout}{done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


JAVA_CONTENT = Content(
    key=lambda n: b"%d" % (n % KEYS),
    value=lambda n: b"%d" % n,
    headers=lambda n: [],
    copy=lambda n: b"%d" % n,
    partition=None,
)
