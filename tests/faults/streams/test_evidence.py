"""What a failed run leaves behind says what happened."""

from __future__ import annotations

from pathlib import Path

from ottla.kafka.admin import Admin
from ottla.kafka.stream_producer import ExactlyOnceProducer
from ottla.settings import KafkaSettings, StreamsSettings
from ottla.testing import Broker
from tests.faults.streams.evidence import keep, transactions


def test_the_history_has_every_transaction_with_its_end(broker: Broker, topic_name: str, tmp_path: Path) -> None:
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    Admin(settings).ensure_topics({topic_name: 2})
    producer = ExactlyOnceProducer(settings, StreamsSettings(), topic_name, "test")
    producer.begin()
    producer.produce(topic_name, b"k", b"kept", partition=0)
    producer.produce(topic_name, b"k", b"kept as well", partition=1)
    producer.commit([], None)
    producer.begin()
    producer.produce(topic_name, b"k", b"undone", partition=1)
    producer.flush()
    producer.abort()
    producer.close()
    history = keep(broker, [topic_name], tmp_path)
    places = f"{topic_name}-0", f"{topic_name}-1"
    found = [
        (one.outcome, sorted((part.place, record) for part in one.written for record in part.records))
        for one in transactions(history.parent)
        if any(part.place in places for part in one.written)
    ]
    assert found == [
        ("COMMIT", [(places[0], "k=kept"), (places[1], "k=kept as well")]),
        ("ABORT", [(places[1], "k=undone")]),
    ]
    assert "k=undone" in history.read_text()
