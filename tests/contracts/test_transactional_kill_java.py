"""Contract: transactions of a client of transaction.version 2 (Java, KIP-890) through kill -9 of the broker.

Java's own TransactionalMessageCopier copies a partition in small transactions, some of which it aborts, while the
broker is killed in the middle of them. It is started again where it gives up. In the end the raw log and its markers
have to hold each record once and in order, and the group's offset has to agree.
"""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time

import pytest
from confluent_kafka import Consumer, TopicPartition

from ottla.broker.wire.messages.fetch import FETCH
from ottla.errors import ServerFailed
from ottla.testing import Broker, KafkaHome
from tests.broker.batches import headers
from tests.conftest import IN_CI
from tests.contracts.asking import Asking
from tests.contracts.clients import PATIENCE_S, create_topic, produce, wait_until
from tests.contracts.raw_log import committed_values
from tests.contracts.test_transactional_kill import kills
from tests.contracts.transactor import CONTROL

COPIER = "org.apache.kafka.tools.TransactionalMessageCopier"
RECORDS_A_KILL, TRANSACTION = 100, 5


class Copier(threading.Thread):
    """Runs the tool until the whole partition is copied. `copied` counts what its runs said, `runs` them."""

    def __init__(self, command: list[str]) -> None:
        super().__init__(name="copier")
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self.copied = 0
        self.runs = 0
        self.stopped = False

    def run(self) -> None:
        while not self.stopped:
            self.runs += 1
            before = self.copied
            self._process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
            )
            assert self._process.stdout is not None
            with self._process.stdout as lines:
                for line in lines:
                    if line.startswith("{"):
                        self.copied = before + json.loads(line)["totalProcessed"]
            if self._process.wait() == 0:
                return

    def stop(self) -> None:
        self.stopped = True
        if self._process is not None:
            self._process.kill()
        self.join()


def test_transactions_of_version_2_go_through_kills(
    killable_broker: Broker, broker_kind: str, topic_name: str, group_name: str
) -> None:
    try:
        home = KafkaHome.find()
    except ServerFailed as missing:
        (pytest.fail if IN_CI else pytest.skip)(str(missing))
    count = kills(broker_kind)
    sent = [b"%d" % number for number in range(RECORDS_A_KILL * (count + 1))]
    target = f"{topic_name}-copy"
    for topic in (topic_name, target):
        create_topic(killable_broker, topic)
    produce(killable_broker, topic_name, sent, enable_idempotence=True)
    copier = Copier(
        home.command(
            COPIER, "--broker-list", killable_broker.bootstrap_servers, "--input-topic", topic_name,
            "--input-partition", "0", "--output-topic", target, "--consumer-group", group_name,
            "--transaction-size", str(TRANSACTION), "--transactional-id", group_name, "--enable-random-aborts",
        )
    )  # fmt: skip
    dice = random.Random(11)
    copier.start()
    try:
        for _ in range(count):
            goal = copier.copied + 2 * TRANSACTION
            wait_until(lambda goal=goal: copier.copied >= goal, what="it goes on", timeout_s=4 * PATIENCE_S)  # type: ignore[misc]
            time.sleep(dice.random() * 0.02)  # anywhere within a transaction
            killable_broker.kill()
            killable_broker.start()
        copier.join(6 * PATIENCE_S)
        assert not copier.is_alive(), f"{copier.copied} of {len(sent)} copied in {copier.runs} runs"
    finally:
        copier.stop()

    with Asking(killable_broker) as asking:
        assert committed_values(asking, target, 0) == sent, "each record once, in order, and no aborted one"
        epochs, markers = _epochs(asking, target)
    assert len(epochs) > 0.9 * markers, "every end of a transaction gives the producer a new epoch (KIP-890)"
    client = Consumer({"bootstrap.servers": killable_broker.bootstrap_servers, "group.id": group_name})
    (found,) = client.committed([TopicPartition(topic_name, 0)], PATIENCE_S)
    client.close()
    assert found.offset == len(sent)


def _epochs(asking: Asking, topic: str) -> tuple[set[tuple[int, int]], int]:
    """The producers and epochs that wrote data, and how many markers there are."""
    epochs: set[tuple[int, int]] = set()
    markers = offset = 0
    while True:
        part = {"partition": 0, "fetch_offset": offset, "partition_max_bytes": 1 << 20}
        topics = [{"topic": topic, "partitions": [part]}]
        answer = asking.ask(FETCH, 11, max_wait_ms=0, min_bytes=1, max_bytes=1 << 20, topics=topics)
        data = bytes(answer["responses"][0]["partitions"][0]["records"] or b"")
        if not data:
            return epochs, markers
        for header in headers(data):
            offset = header.last_offset + 1
            if header.attributes & CONTROL:
                markers += 1
            else:
                epochs.add((header.producer_id, header.producer_epoch))
