"""What a broker that is killed leaves of open transactions: nothing, in any partition."""

from __future__ import annotations

import time

from ottla.kafka.admin import Admin
from ottla.kafka.reader import TopicReader
from ottla.kafka.stream_producer import ExactlyOnceProducer
from ottla.settings import KafkaSettings, StreamsSettings
from ottla.testing import Broker

PARTITIONS = 12
PATIENCE_S = 60.0


def test_a_transaction_that_a_broker_was_killed_with_ends_in_all_its_partitions(
    killable_broker: Broker, topic_name: str
) -> None:
    settings = KafkaSettings(bootstrap_servers=killable_broker.bootstrap_servers)
    Admin(settings).ensure_topics({topic_name: PARTITIONS})
    streams = StreamsSettings(transaction_timeout_s=2.0)  # it runs out while the broker comes back
    producers = [ExactlyOnceProducer(settings, streams, f"{topic_name}-{number}", "test") for number in range(3)]
    for producer in producers:
        producer.begin()
        for partition in range(PARTITIONS):
            producer.produce(topic_name, b"undone", b"undone", partition=partition)
        producer.flush()
    killable_broker.kill()
    killable_broker.start()
    # The same transactional ids write on: what they had open must not be committed with this.
    again = [ExactlyOnceProducer(settings, streams, f"{topic_name}-{number}", "test") for number in range(3)]
    for producer in again:
        producer.begin()
        for partition in range(PARTITIONS):
            producer.produce(topic_name, b"done", b"done", partition=partition)
        producer.commit([], None)
    for producer in (*producers, *again):
        producer.close()
    deadline = time.monotonic() + PATIENCE_S
    found: list[bytes | None] = []
    while len(found) < 3 * PARTITIONS and time.monotonic() < deadline:
        with TopicReader(settings, topic_name) as reader:
            found = [record.value for record in reader.until_end()]
    assert found == [b"done"] * 3 * PARTITIONS
