"""The producer's poll thread outlives what goes wrong on it."""

from __future__ import annotations

import threading
import time
from typing import Any

import confluent_kafka
import pytest

from ottla import KafkaSettings, PublishError
from ottla.kafka.producer import Producer
from ottla.testing import Broker


class _Fatal:
    """A client whose poll raises a fatal error once, as the library's does."""

    def __init__(self) -> None:
        self.polls = 0

    def __len__(self) -> int:
        return 0

    def poll(self, timeout_s: float) -> int:
        self.polls += 1
        if self.polls == 1:
            error = confluent_kafka.KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER
            raise confluent_kafka.KafkaException(confluent_kafka.KafkaError(error, "sequence lost", fatal=True))
        time.sleep(0.01)
        return 0


def test_a_fatal_error_is_noted_and_refuses_every_further_record() -> None:
    producer = Producer(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    producer._producer = client = _Fatal()  # type: ignore[assignment]
    deadline = time.monotonic() + 5
    while client.polls < 3:
        assert time.monotonic() < deadline
        assert producer._thread.is_alive()
        time.sleep(0.01)
    assert "sequence lost" in (producer.fatal or "")
    with pytest.raises(PublishError, match="cannot go on"):
        producer.try_send("orders", b"")
    producer.close()


def test_delivery_reports_arrive_on_one_thread_also_during_a_flush_and_after_one_raised(
    embedded_broker: Broker,
) -> None:
    from ottla.kafka.admin import Admin

    settings = KafkaSettings(bootstrap_servers=embedded_broker.bootstrap_servers)
    Admin(settings).ensure_topics({"reports": 1})
    producer = Producer(settings)
    threads: list[int] = []

    def delivered(error: Any, message: Any) -> None:
        threads.append(threading.get_ident())
        if len(threads) == 1:
            raise ValueError("a bug in a callback")

    for n in range(2000):
        producer.send("reports", b"%d" % n, on_delivery=delivered)
    assert producer.flush(10) == 0
    producer.send("reports", b"last", on_delivery=delivered)
    assert producer.close() == 0
    assert len(threads) == 2001
    assert set(threads) == {producer._thread.ident}
