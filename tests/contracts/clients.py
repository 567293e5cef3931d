"""Short ways to say what contract tests say often, with confluent-kafka (librdkafka) as the client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from ottla.testing import Broker

# Long enough for a loaded machine: nothing waits this long unless it fails.
PATIENCE_S = 30.0
# A client that has waited so long for an answer may wait for ever: a new one is asked.
ANSWER_S = 10.0
HOUR_AGO_MS = int(time.time()) * 1000 - 3_600_000
"""A time for records: not longer ago than brokers keep them."""

# librdkafka tells of every connection a killed broker drops; tests that kill brokers know.
_QUIET = {"log_level": 0, "error_cb": lambda error: None}


_ASK_AGAIN = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.INVALID_REPLICATION_FACTOR}


def wait_until(condition: Callable[[], Any], *, what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Calls `condition` until it gives something true, and gives that."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)
    return found


def admin(broker: Broker) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.bootstrap_servers, **_QUIET})


def create_topic(broker: Broker, name: str, partitions: int = 1, **config: str) -> str:
    """Creates a topic, waits until every partition is served, and gives the name back.

    A broker whose machine stood still for some seconds is fenced by its controller for a moment. It then refuses new
    topics, or tells of topics without a broker, at which librdkafka may forget the brokers for good (its issue 5301):
    so this asks again, with new clients.
    """
    new = NewTopic(name, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()})
    deadline = time.monotonic() + 2 * PATIENCE_S
    asked_before = False
    while True:
        client = admin(broker)
        try:
            client.create_topics([new], request_timeout=ANSWER_S)[name].result()
            break
        except KafkaException as failure:
            code = error_code(failure)
            if asked_before and code == KafkaError.TOPIC_ALREADY_EXISTS:
                break
            if code not in _ASK_AGAIN or time.monotonic() > deadline:
                raise
            asked_before = True
            time.sleep(0.1)

    # Known to the metadata is not enough: Apache Kafka makes the partitions a moment later. This asks the partitions.
    latest = {TopicPartition(name, partition): OffsetSpec.latest() for partition in range(partitions)}

    def serves() -> bool:
        nonlocal client
        found = [f.exception() for f in client.list_offsets(latest, request_timeout=ANSWER_S).values()]
        if any(isinstance(e, KafkaException) and error_code(e) == KafkaError._TIMED_OUT for e in found):
            client = admin(broker)
        return not any(found)

    wait_until(serves, what=f"{name} serves {partitions} partitions", timeout_s=2 * PATIENCE_S)
    return name


def set_topic_config(broker: Broker, topic: str, name: str, value: str) -> None:
    """Changes one setting of a topic."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = admin(broker)
    client.incremental_alter_configs([resource])[resource].result(PATIENCE_S)


def producer(broker: Broker, **config: Any) -> Producer:
    settings = {"linger.ms": 0, "message.timeout.ms": int(PATIENCE_S * 1000), "socket.timeout.ms": 10_000}
    return Producer({"bootstrap.servers": broker.bootstrap_servers, **_QUIET, **settings, **_dotted(config)})


def produce(broker: Broker, topic: str, values: Iterable[bytes | None], *, partition: int = 0, **config: Any) -> None:
    """Produces the values to one partition and returns when all are acknowledged."""
    with delivering(producer(broker, **config)) as deliver:
        for value in values:
            deliver(topic, value, partition=partition)


@contextmanager
def delivering(client: Producer) -> Iterator[Callable[..., None]]:
    """Gives a `produce`, and at the end waits until everything is acknowledged.

    Raises:
        KafkaException: The first delivery that failed.
    """
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(error)

    yield lambda topic, value, **more: client.produce(topic, value, on_delivery=delivered, **more)
    assert client.flush(PATIENCE_S) == 0, "not everything was delivered in time"
    if failures:
        raise KafkaException(failures[0])


def send(broker: Broker, topic: str, value: bytes | None, *, client: Producer | None = None, **more: Any) -> Message:
    """Produces one record and gives it as acknowledged, with partition, offset and timestamp.

    Raises:
        KafkaException: It was not.
    """
    results: list[tuple[KafkaError | None, Message]] = []
    client = client or producer(broker)
    client.produce(topic, value, on_delivery=lambda error, message: results.append((error, message)), **more)
    assert client.flush(PATIENCE_S) == 0, "not delivered in time"
    error, message = results[0]
    if error is not None:
        raise KafkaException(error)
    return message


@contextmanager
def consumer(broker: Broker, group: str = "unused", **config: Any) -> Iterator[Consumer]:
    """A consumer from the earliest offset, without automatic commits, with quick heartbeats; closed at the end."""
    settings = {
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "heartbeat.interval.ms": 200,
        "session.timeout.ms": 10_000,
        "reconnect.backoff.max.ms": 500,
    }
    if config.get("group_protocol") == "consumer":
        del settings["heartbeat.interval.ms"], settings["session.timeout.ms"]  # the broker's to say
    client = Consumer({"bootstrap.servers": broker.bootstrap_servers, **_QUIET, **settings, **_dotted(config)})
    try:
        yield client
    finally:
        client.close()


def read(client: Consumer, count: int, *, timeout_s: float = PATIENCE_S) -> list[Message]:
    """Polls until `count` records have come. An error among them is raised as KafkaException."""
    records: list[Message] = []
    deadline = time.monotonic() + timeout_s
    while len(records) < count:
        assert time.monotonic() < deadline, f"{len(records)} of {count} records within {timeout_s:g} s"
        for message in client.consume(count - len(records), timeout=0.2):
            if message.error():
                raise KafkaException(message.error())
            records.append(message)
    return records


def read_partition(broker: Broker, topic: str, count: int, *, partition: int = 0, start: int = 0) -> list[Message]:
    """The `count` records of a partition that begin at offset `start`."""
    with consumer(broker) as client:
        client.assign([TopicPartition(topic, partition, start)])
        return read(client, count)


def values(records: Sequence[Message]) -> list[bytes | None]:
    return [record.value() for record in records]


def end_offset(broker: Broker, topic: str, partition: int = 0) -> int:
    with consumer(broker) as client:
        return client.get_watermark_offsets(TopicPartition(topic, partition), timeout=PATIENCE_S)[1]


def error_code(failure: KafkaException) -> int:
    """The protocol's (or librdkafka's) error number within the exception."""
    return failure.args[0].code()


def _dotted(config: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", ".") if not name.endswith("_cb") else name: value for name, value in config.items()}
