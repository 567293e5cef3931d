"""Contract: kafka-python, the oldest of the Python clients, works unchanged."""

from __future__ import annotations

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from ottla.testing import Broker
from tests.contracts.clients import PATIENCE_S, produce, read_partition, values


def reader(broker: Broker, *topics: str, group: str | None = None) -> KafkaConsumer:
    return KafkaConsumer(
        *topics,
        bootstrap_servers=broker.bootstrap_servers,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=int(PATIENCE_S * 1000),
    )


def take(consumer: KafkaConsumer, count: int) -> list[bytes]:
    return [record.value for _, record in zip(range(count), consumer, strict=False)]


def test_librdkafka_reads_what_it_produced(broker: Broker, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all", compression_type="gzip")
    try:
        sent = [producer.send(topic, b"v%d" % number, key=b"k") for number in range(50)]
        assert [future.get(PATIENCE_S).offset for future in sent] == list(range(50))
    finally:
        producer.close()
    assert values(read_partition(broker, topic, 50)) == [b"v%d" % number for number in range(50)]


def test_it_reads_what_librdkafka_produced(broker: Broker, topic: str) -> None:
    produce(broker, topic, [b"v%d" % number for number in range(50)], compression_type="gzip")
    consumer = reader(broker, topic)
    try:
        assert take(consumer, 50) == [b"v%d" % number for number in range(50)]
    finally:
        consumer.close()


def test_its_group_goes_on_where_it_committed(broker: Broker, topic: str, group_name: str) -> None:
    produce(broker, topic, [b"v0", b"v1", b"v2"])
    consumer = reader(broker, group=group_name)
    try:
        consumer.subscribe([topic])
        assert take(consumer, 3) == [b"v0", b"v1", b"v2"]
        consumer.commit()
        assert consumer.committed(TopicPartition(topic, 0)) == 3
    finally:
        consumer.close()
    produce(broker, topic, [b"v3"])
    consumer = reader(broker, topic, group=group_name)
    try:
        assert take(consumer, 1) == [b"v3"]
    finally:
        consumer.close()
