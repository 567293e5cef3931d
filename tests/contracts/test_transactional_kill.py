"""Contract: consume, transform, produce in transactions, through kill -9 of the broker at any moment.

Two workers copy a partition of the input each, both to all partitions of the output, in small transactions with their
offsets; some they abort, with records that nobody may ever see. The broker is killed again and again. In the end a
checker that trusts nobody's filtering reads the raw log and its markers, and everything has to agree.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from ottla.testing import Broker
from tests.contracts.asking import Asking
from tests.contracts.clients import (
    PATIENCE_S,
    consumer,
    create_topic,
    end_offset,
    producer,
    read_partition,
    values,
    wait_until,
)
from tests.contracts.raw_log import committed_values

T = TypeVar("T")

PARTITIONS = 2
AHEAD_MAX = 2_000
ABORTED_SHARE = 0.2
CALL_S = 60.0


def kills(broker_kind: str) -> int:
    """`make soak-kills` asks for many more."""
    return int(os.environ.get("OTTLA_KILLS", "5" if broker_kind == "embedded" else "1"))


class Feeder(threading.Thread):
    """Writes numbers to every partition of the input, a little ahead of the workers."""

    def __init__(self, broker: Broker, topic: str, workers: list[Worker], enough: threading.Event) -> None:
        super().__init__(name="feeder")
        self.client = producer(
            broker, enable_idempotence=True, message_timeout_ms=120_000, reconnect_backoff_max_ms=200
        )
        self.topic = topic
        self.workers = workers
        self.enough = enough
        self.count = 0

    def run(self) -> None:
        while not self.enough.is_set():
            if self.count - min(worker.copied for worker in self.workers) > AHEAD_MAX:
                self.client.poll(0.02)
                continue
            for partition in range(PARTITIONS):
                self.client.produce(self.topic, b"%d" % self.count, partition=partition)
            self.count += 1
            self.client.poll(0)
        assert self.client.flush(CALL_S) == 0


class Worker(threading.Thread):
    """Copies one partition in transactions. `commits` counts them, `failure` is what ended it early."""

    def __init__(self, broker: Broker, source: str, target: str, group: str, number: int, enough: threading.Event):
        super().__init__(name=f"worker-{number}")
        self.broker = broker
        self.source = TopicPartition(source, number)
        self.target = target
        self.group = group
        self.number = number
        self.enough = enough
        self.rng = random.Random(number)
        self.copied = 0
        self.commits = 0
        self.aborts = 0
        self.producers = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as failure:
            self.failure = failure
            raise

    def _work(self) -> None:
        settings = {"bootstrap.servers": self.broker.bootstrap_servers, "log_level": 0, "error_cb": lambda _: None}
        # Without "none" librdkafka 2.16 forgets all brokers when the last one is gone, and a call of
        # send_offsets_to_transaction that waits for the group's coordinator at that moment waits for ever.
        waits = {
            "reconnect.backoff.max.ms": 200,
            "socket.timeout.ms": 10_000,
            "metadata.recovery.strategy": "none",
        }
        consumer = Consumer(
            {**settings, **waits, "group.id": self.group, "enable.auto.commit": False,
             "isolation.level": "read_committed", "auto.offset.reset": "error", "fetch.wait.max.ms": 50}
        )  # fmt: skip
        while not self.enough.is_set():
            client = Producer(
                {**settings, **waits, "transactional.id": f"{self.group}-{self.number}", "linger.ms": 1,
                 "transaction.timeout.ms": 60_000, "retry.backoff.ms": 50}
            )  # fmt: skip
            self.producers += 1
            _patiently(client.init_transactions)
            self._rewind(consumer)
            while not self.enough.is_set():
                records = [one for one in consumer.consume(20, 0.05) if one.error() is None]
                if records and not self._copy(client, consumer, records):
                    break
        consumer.close()

    def _copy(self, client: Producer, consumer: Consumer, records: list[Message]) -> bool:
        """One transaction. False if the producer is of no use any more."""
        abort = self.rng.random() < ABORTED_SHARE
        try:
            client.begin_transaction()
            for record in records:
                offset = record.offset() or 0
                value = b"%s%d-%d" % (b"aborted-" if abort else b"", self.number, offset)
                client.produce(self.target, value, partition=offset % PARTITIONS)
            last = TopicPartition(self.source.topic, self.source.partition, (records[-1].offset() or 0) + 1)
            metadata = consumer.consumer_group_metadata()
            _patiently(lambda wait: client.send_offsets_to_transaction([last], metadata, wait))
            if abort:
                # librdkafka 2.16 takes back what it has sent without an answer when a transaction is aborted, and gives
                # its sequences to the records of the next one: brokers, Apache Kafka too, then count these as repeated.
                _patiently(lambda wait: _flush(client, wait))
            else:
                _patiently(client.commit_transaction)
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                return False
            abort = True
        if not abort:
            self.copied, self.commits = last.offset, self.commits + 1
            return True
        try:
            _patiently(client.abort_transaction)
        except KafkaException:
            return False
        self.aborts += 1
        self._rewind(consumer)
        return True

    def _rewind(self, consumer: Consumer) -> None:
        """Goes back to what is committed, as a service does after a failure."""
        (found,) = _patiently(lambda wait: consumer.committed([self.source], wait))
        offset = max(found.offset, 0)
        self.copied = offset
        consumer.assign([TopicPartition(self.source.topic, self.source.partition, offset)])


def _patiently(call: Callable[[float], T]) -> T:
    """Calls again what may be called again, while the broker is away."""
    deadline = time.monotonic() + CALL_S
    while True:
        try:
            return call(5)
        except KafkaException as error:
            reason = error.args[0]
            passing = reason.retriable() or (not reason.fatal() and not reason.txn_requires_abort())
            if not passing or time.monotonic() > deadline:
                raise


def _flush(client: Producer, wait: float) -> None:
    if client.flush(wait):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, retriable=True))


def test_transactions_go_through_kills_without_loss_double_disorder_or_an_aborted_record(
    killable_broker: Broker, broker_kind: str, topic_name: str, group_name: str
) -> None:
    source, target = create_topic(killable_broker, topic_name, PARTITIONS), f"{topic_name}-copy"
    create_topic(killable_broker, target, PARTITIONS)
    enough = threading.Event()
    workers = [Worker(killable_broker, source, target, group_name, n, enough) for n in range(PARTITIONS)]
    feeder = Feeder(killable_broker, source, workers, enough)
    rng = random.Random(7)
    threads = [feeder, *workers]
    for thread in threads:
        thread.start()

    def further(count: int) -> None:
        goals = [worker.commits + count for worker in workers]

        def there() -> bool:
            assert not any(worker.failure for worker in workers), [worker.failure for worker in workers]
            return all(worker.commits >= goal for worker, goal in zip(workers, goals, strict=True))

        wait_until(there, what=f"{count} more commits of each worker", timeout_s=4 * PATIENCE_S)

    try:
        for _ in range(kills(broker_kind)):
            further(3)
            # Not always right after a commit: somewhere within a transaction, or in the middle of its end.
            time.sleep(rng.random() * 0.05)
            killable_broker.kill()
            killable_broker.start()
        further(3)
    finally:
        enough.set()
        for thread in threads:
            thread.join()

    assert [worker.failure for worker in workers] == [None, None]
    seen: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    with Asking(killable_broker) as asking:
        for partition in range(PARTITIONS):
            # A commit is answered when it is decided; its markers are written right after that.
            wait_until(partial(_is_settled, killable_broker, target, partition), what="the last markers")
            raw = committed_values(asking, target, partition)
            for value in raw:
                assert not value.startswith(b"aborted"), f"partition {partition}: {value!r} was aborted"
                number, offset = map(int, value.split(b"-"))
                seen[number][partition].append(offset)
            read = [value for value in _read_committed(killable_broker, target, partition, len(raw)) if value]
            assert read == raw, "what a client reads is what the raw log and its markers say"
    for number, worker in enumerate(workers):
        copied = sorted(offset for offsets in seen[number].values() for offset in offsets)
        assert copied == list(range(len(copied))), "each record once"
        assert all(offsets == sorted(offsets) for offsets in seen[number].values()), "in order"
        assert len(copied) == worker.copied, "outputs and what the worker knows to be committed agree"
        assert _committed(killable_broker, group_name, worker.source) == len(copied), "offsets and outputs agree"
        inputs = values(read_partition(killable_broker, source, end_offset(killable_broker, source, number),
                                       partition=number))  # fmt: skip
        assert inputs == [b"%d" % n for n in range(feeder.count)], "the input itself is whole"
    print(f"{[(w.commits, w.aborts, w.producers) for w in workers]} commits, aborts and producers of each worker")


def _is_settled(broker: Broker, topic: str, partition: int) -> bool:
    """Whether no transaction is open: readers of committed records may read to the end."""
    ends = set()
    for level in ("read_committed", "read_uncommitted"):
        with consumer(broker, **{"isolation.level": level}) as client:
            ends.add(client.get_watermark_offsets(TopicPartition(topic, partition), timeout=PATIENCE_S)[1])
    return len(ends) == 1


def _read_committed(broker: Broker, topic: str, partition: int, count: int) -> list[bytes | None]:
    """What a client reads with isolation.level=read_committed, up to the end."""
    client = Consumer(
        {"bootstrap.servers": broker.bootstrap_servers, "group.id": "unused", "isolation.level": "read_committed",
         "enable.partition.eof": True}
    )  # fmt: skip
    client.assign([TopicPartition(topic, partition, 0)])
    found: list[bytes | None] = []
    deadline = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < deadline:
            for message in client.consume(1000, 0.5):
                if message.error() is not None:
                    return found
                found.append(message.value())
    finally:
        client.close()
    raise AssertionError(f"{len(found)} of {count} records, and no end")


def _committed(broker: Broker, group: str, source: TopicPartition) -> int:
    client = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": group})
    try:
        (found,) = _patiently(lambda wait: client.committed([TopicPartition(source.topic, source.partition)], wait))
        return int(found.offset)
    finally:
        client.close()
