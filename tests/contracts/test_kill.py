"""Contract: what was acknowledged survives the broker's kill -9, and clients go on by themselves."""

from __future__ import annotations

import os
import threading

from confluent_kafka import KafkaError, Message, TopicPartition

from ottla.testing import Broker
from tests.contracts.clients import (
    PATIENCE_S,
    admin,
    consumer,
    create_topic,
    end_offset,
    produce,
    producer,
    read,
    read_partition,
    values,
    wait_until,
)


def kills(broker_kind: str) -> int:
    """`make soak-kills` asks for many more. Apache Kafka takes ten times as long to start."""
    return int(os.environ.get("OTTLA_KILLS", "10" if broker_kind == "embedded" else "2"))


def test_topics_records_and_committed_offsets_survive_a_kill(
    killable_broker: Broker, topic_name: str, group_name: str
) -> None:
    create_topic(killable_broker, topic_name, partitions=3, retention_ms="3600000")
    for partition in range(3):
        produce(killable_broker, topic_name, [b"%d-%d" % (partition, n) for n in range(50)], partition=partition)
    with consumer(killable_broker, group_name) as client:
        client.commit(offsets=[TopicPartition(topic_name, 1, 17, "note")], asynchronous=False)

    killable_broker.kill()
    killable_broker.start()

    assert len(admin(killable_broker).list_topics(timeout=PATIENCE_S).topics[topic_name].partitions) == 3
    for partition in range(3):
        found = values(read_partition(killable_broker, topic_name, 50, partition=partition))
        assert found == [b"%d-%d" % (partition, n) for n in range(50)]
    with consumer(killable_broker, group_name) as client:
        (committed,) = client.committed([TopicPartition(topic_name, 1)], timeout=PATIENCE_S)
        assert (committed.offset, committed.metadata) == (17, "note")
        client.subscribe([topic_name])
        assert len(read(client, 50 + 33 + 50)) == 133
    produce(killable_broker, topic_name, [b"after"])
    assert end_offset(killable_broker, topic_name) == 51


def test_an_idempotent_producer_goes_through_kills_without_loss_double_or_disorder(
    killable_broker: Broker, broker_kind: str, topic_name: str
) -> None:
    create_topic(killable_broker, topic_name)
    acknowledged: dict[bytes, int] = {}
    failed: list[KafkaError] = []
    enough = threading.Event()

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failed.append(error)
        else:
            acknowledged[message.value() or b""] = message.offset() or 0

    def write() -> None:
        client = producer(killable_broker, enable_idempotence=True, message_timeout_ms=60_000, linger_ms=1,
                          reconnect_backoff_max_ms=200, retry_backoff_ms=50)  # fmt: skip
        number = 0
        while not enough.is_set():
            client.produce(topic_name, b"%d" % number, on_delivery=delivered)
            number += 1
            client.poll(0.001)
        assert client.flush(60) == 0, "not everything was acknowledged in the end"

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for _ in range(kills(broker_kind)):
            before = len(acknowledged)
            wait_until(lambda before=before: len(acknowledged) > before + 200, what="200 more are acknowledged")
            killable_broker.kill()
            killable_broker.start()
        before = len(acknowledged)
        wait_until(lambda: len(acknowledged) > before + 200, what="200 more after the last restart")
    finally:
        enough.set()
        writing.join()

    assert failed == []
    records = read_partition(killable_broker, topic_name, end_offset(killable_broker, topic_name))
    assert values(records) == [b"%d" % number for number in range(len(acknowledged))]
    assert {record.value(): record.offset() for record in records} == acknowledged


def test_a_group_goes_on_after_the_broker_was_killed(killable_broker: Broker, topic_name: str, group_name: str) -> None:
    create_topic(killable_broker, topic_name)
    produce(killable_broker, topic_name, [b"before"])
    with consumer(killable_broker, group_name) as client:
        client.subscribe([topic_name])
        (first,) = read(client, 1)
        client.commit(first, asynchronous=False)

        killable_broker.kill()
        killable_broker.start()

        produce(killable_broker, topic_name, [b"after"])
        found: list[bytes | None] = []

        def reads_on() -> bool:
            message = client.poll(0.1)
            if message is not None and message.error() is None:
                found.append(message.value())
            return bool(found)

        wait_until(reads_on, what="the record after the kill")
        assert found == [b"after"]


def test_a_stopped_broker_keeps_everything_too(killable_broker: Broker, topic_name: str, group_name: str) -> None:
    create_topic(killable_broker, topic_name)
    produce(killable_broker, topic_name, [b"v0", b"v1"])
    with consumer(killable_broker, group_name) as client:
        client.commit(offsets=[TopicPartition(topic_name, 0, 1)], asynchronous=False)
    killable_broker.restart()
    assert values(read_partition(killable_broker, topic_name, 2)) == [b"v0", b"v1"]
    with consumer(killable_broker, group_name) as client:
        assert client.committed([TopicPartition(topic_name, 0)], timeout=PATIENCE_S)[0].offset == 1
