"""What `bench broker` lets confluent-kafka do: the same code and settings for every broker."""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

POLL_MESSAGES = 10_000
STUCK_SECONDS = 60.0
DELETED_SECONDS = 120.0  # Kafka begins to delete half a minute after its start
COMMIT_EVERY_SECONDS = 0.1
LATENCY_RATE = 200
QUEUE_LOW = 90_000
DIFFERENT_VALUES = 997

CLIENT: dict[str, Any] = {"log_level": 2}  # brokers come and go here: no news
PRODUCER: dict[str, Any] = {
    **CLIENT,
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 10,
    "delivery.report.only.error": True,
}
CONSUMER: dict[str, Any] = {
    **CLIENT,
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    # The client's own brake would be measured otherwise: above 100,000 queued messages it stops fetching for a second.
    "queued.min.messages": 1_000_000,
    "fetch.queue.backoff.ms": 5,
}


@dataclass(frozen=True)
class Setting:
    """One row of the tables: size of a value in bytes, codec, partitions."""

    size: int
    codec: str
    partitions: int

    def __str__(self) -> str:
        return f"{'1 KB' if self.size == 1000 else f'{self.size} B':>5} {self.codec:4} {self.partitions}p"


SETTINGS = [Setting(size, codec, n) for size in (100, 1000) for codec in ("none", "lz4") for n in (1, 6)]


class BenchFailed(Exception):
    """A broker did not do what was asked of it; the figures would mean nothing."""


def values(size: int) -> list[bytes]:
    """Different values of a size, JSON as services write it, about half of it incompressible."""
    rng = random.Random(size)
    made: list[bytes] = []
    for number in range(DIFFERENT_VALUES):
        text = ""
        while len(text) < size:
            order = uuid.UUID(int=rng.getrandbits(128))
            text += (
                f'{{"order":"{order}","customer":{12000 + number},"amount":{rng.randrange(10**6) / 100},"state":"new"}}'
            )
        made.append(text[:size].encode())
    return made


@contextmanager
def topic(bootstrap: str, partitions: int, name: str = "", *, folder: Path | None = None) -> Iterator[str]:
    """A new topic, deleted afterwards; with the broker's data folder given, until its files are gone, too.

    Kafka removes them some time after it has said so, which would be in the time of whoever is measured next. (The
    embedded broker does it before it does anything else.)
    """
    admin = AdminClient({**CLIENT, "bootstrap.servers": bootstrap})
    name = name or f"bench-{uuid.uuid4().hex[:12]}"
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
    try:
        yield name
    finally:
        admin.delete_topics([name])[name].result(30)
        if folder is not None:
            _wait_for_deletion(folder, name)


def _wait_for_deletion(folder: Path, name: str) -> None:
    deadline = time.perf_counter() + DELETED_SECONDS
    while any(folder.glob(f"{name}-*")):
        if time.perf_counter() > deadline:
            raise BenchFailed(f"{folder}: the files of {name} are still there after {DELETED_SECONDS:g} s")
        time.sleep(0.02)
    os.sync()


class Load:
    """A producer that is connected and has its id, so that only producing is timed.

    Args:
        bootstrap: The broker.
        name: The topic.
        setting: What to write.
        extra: Further settings of the client.
    """

    def __init__(self, bootstrap: str, name: str, setting: Setting, **extra: Any) -> None:
        self._refused: list[KafkaError] = []
        self._topic = name
        self._values = values(setting.size)
        config = {**PRODUCER, "compression.type": setting.codec, "bootstrap.servers": bootstrap, **extra}
        self._producer = Producer(config)
        for partition in range(setting.partitions):
            self._producer.produce(name, self._values[0], partition=partition, on_delivery=self._delivered)
        self._flush()

    def run(self, count: int) -> float:
        """Writes so many messages; gives the seconds until the last is acknowledged. Raises BenchFailed."""
        produce, name, delivered = self._producer.produce, self._topic, self._delivered
        rounds, rest = divmod(count, DIFFERENT_VALUES)
        started = time.perf_counter()
        for chunk in (*[self._values] * rounds, self._values[:rest]):
            for value in chunk:
                try:
                    produce(name, value, on_delivery=delivered)
                except BufferError:
                    _wait_for_room(self._producer)
                    produce(name, value, on_delivery=delivered)
        self._flush()
        return time.perf_counter() - started

    def spread(self, value: bytes, count: int, partitions: int) -> None:
        """Writes a value `count` times to each partition. Raises BenchFailed."""
        for _ in range(count):
            for partition in range(partitions):
                try:
                    self._producer.produce(self._topic, value, partition=partition, on_delivery=self._delivered)
                except BufferError:
                    _wait_for_room(self._producer)
                    self._producer.produce(self._topic, value, partition=partition, on_delivery=self._delivered)
        self._flush()

    def _flush(self) -> None:
        left = self._producer.flush(STUCK_SECONDS)
        if left or self._refused:
            raise BenchFailed(f"{left} messages without answer after {STUCK_SECONDS:g} s; refused: {self._refused[:3]}")

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._refused.append(error)


def _wait_for_room(producer: Producer) -> None:
    """The client's queue (100,000 messages by default) is full: the broker is the slower one."""
    deadline = time.perf_counter() + STUCK_SECONDS
    while len(producer) > QUEUE_LOW and time.perf_counter() < deadline:
        producer.poll(0.001)


def consume(bootstrap: str, name: str, partitions: int, count: int) -> float:
    """Reads `count` messages from the start of a topic; gives the seconds from assignment to the last one."""
    consumer = Consumer({**CONSUMER, "bootstrap.servers": bootstrap, "group.id": f"bench-{uuid.uuid4().hex}"})
    try:
        consumer.list_topics(name, timeout=30)
        read = 0
        started = time.perf_counter()
        consumer.assign([TopicPartition(name, number, 0) for number in range(partitions)])
        for messages in _batches(consumer):
            read += len(messages)
            if read >= count:
                break
        return time.perf_counter() - started
    finally:
        consumer.close()


def _batches(consumer: Consumer) -> Iterator[list[Message]]:
    """What the consumer gets, for as long as there is something. Raises BenchFailed."""
    heard = time.perf_counter()
    while True:
        messages = consumer.consume(POLL_MESSAGES, 0.1)
        now = time.perf_counter()
        if messages:
            heard = now
            if (error := messages[0].error()) is not None:
                raise BenchFailed(f"the consumer got {error}")
        elif now - heard > STUCK_SECONDS:
            raise BenchFailed(f"the consumer got nothing for {STUCK_SECONDS:g} s")
        yield messages


def latencies(bootstrap: str, name: str, seconds: float) -> list[float]:
    """End-to-end latencies (seconds, sorted) of 100-byte messages sent one by one, 200 in a second, without linger."""
    count = int(seconds * LATENCY_RATE)
    seen: list[float] = []
    consumer = Consumer({**CONSUMER, "bootstrap.servers": bootstrap, "group.id": f"bench-{uuid.uuid4().hex}"})
    consumer.assign([TopicPartition(name, 0, 0)])
    done = threading.Event()

    def read() -> None:
        while len(seen) < count and not done.is_set():
            message = consumer.poll(0.2)
            if message is not None and message.error() is None and (value := message.value()):
                sent = float(value[:24])
                if sent > 0:
                    seen.append(time.perf_counter() - sent)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        _send_steadily(bootstrap, name, count)
        reader.join(STUCK_SECONDS)
        if reader.is_alive() or len(seen) < count:
            raise BenchFailed(f"{len(seen)} of {count} messages came back")
    finally:
        done.set()
        reader.join()
        consumer.close()
    return sorted(seen)


def _send_steadily(bootstrap: str, name: str, count: int) -> None:
    producer = Producer({**PRODUCER, "bootstrap.servers": bootstrap, "linger.ms": 0})
    padding = b"." * 76
    for _ in range(20):  # not counted: connecting, and the producer's id
        producer.produce(name, b"%024.9f" % 0 + padding)
        producer.flush(STUCK_SECONDS)
    begun = time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, begun + number / LATENCY_RATE - time.perf_counter()))
        producer.produce(name, b"%024.9f" % time.perf_counter() + padding)
        producer.poll(0)
    producer.flush(STUCK_SECONDS)


@dataclass(frozen=True)
class Copied:
    """Seconds to copy all messages in transactions, and seconds of each commit (offsets, flush and all)."""

    seconds: float
    commits: Sequence[float]


def copy_in_transactions(bootstrap: str, source: str, target: str, setting: Setting, count: int) -> Copied:
    """Consumes a topic, produces each message to another, and commits both every 100 ms."""
    group = f"bench-{uuid.uuid4().hex}"
    consumer = Consumer({**CONSUMER, "bootstrap.servers": bootstrap, "group.id": group})
    producer = Producer(
        {
            **PRODUCER,
            "bootstrap.servers": bootstrap,
            "compression.type": setting.codec,
            "transactional.id": group,
        }
    )
    try:
        producer.init_transactions(STUCK_SECONDS)
        consumer.assign([TopicPartition(source, number, 0) for number in range(setting.partitions)])
        return _copy(consumer, producer, target, count)
    finally:
        consumer.close()


def _copy(consumer: Consumer, producer: Producer, target: str, count: int) -> Copied:
    produce = producer.produce
    commits: list[float] = []
    started = 0.0
    copied = 0
    for messages in _batches(consumer):
        if not messages:
            continue
        if not started:
            # The clock starts with the first messages: how fast a consumer starts is not the question here.
            started = commit_at = time.perf_counter()
            producer.begin_transaction()
        for message in messages:
            try:
                produce(target, message.value())
            except BufferError:
                _wait_for_room(producer)
                produce(target, message.value())
        copied += len(messages)
        now = time.perf_counter()
        if now - commit_at >= COMMIT_EVERY_SECONDS or copied >= count:
            _commit(consumer, producer)
            commit_at = time.perf_counter()
            commits.append(commit_at - now)
            if copied >= count:
                break
            producer.begin_transaction()
    return Copied(time.perf_counter() - started, commits)


def _commit(consumer: Consumer, producer: Producer) -> None:
    positions = [at for at in consumer.position(consumer.assignment()) if at.offset >= 0]
    producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), STUCK_SECONDS)
    producer.commit_transaction(STUCK_SECONDS)
