"""Contract: publishing from scripts, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec
import pytest

from ottla import BrokerUnavailable, EncodeError, KafkaSettings, Producer, PublishError, RecordMetadata, read_envelope
from ottla.errors import EventDefinitionError
from ottla.testing import free_port
from tests.listeners.harness import World, headers_of

TOO_LARGE = "x" * 3_000_000


def ids(world: World, topic: str) -> list[str]:
    return [envelope.id for one in world.records(topic) if (envelope := read_envelope(one.headers)) is not None]


def test_an_event_is_acknowledged_with_its_place_and_carries_its_envelope(world: World) -> None:
    with Producer(world.settings, name="import-orders") as producer:
        where = producer.publish(
            world.Ordered("o-1"), event_id="e-1", correlation_id="c-1", causation_id="e-0", headers=[("x", b"y")]
        )
        again = producer.publish(world.Ordered("o-1"), key=b"other")
    assert (where.topic, where.partition, where.offset, again.offset) == (world.orders, 0, 0, 1)
    first, second = world.records(world.orders)
    envelope = read_envelope(first.headers)
    assert envelope is not None
    assert (envelope.id, envelope.correlation_id, envelope.causation_id) == ("e-1", "c-1", "e-0")
    assert envelope.source == "/import-orders"
    assert headers_of(first)["x"] == b"y"
    assert (first.key, second.key) == (b"o-1", b"other")


def test_many_events_are_acknowledged_together_in_their_order(world: World) -> None:
    with Producer(world.settings) as producer:
        where = producer.publish_many(world.Ordered("o-1", n) for n in range(500))
        assert producer.publish_many([]) == []
    assert [one.offset for one in where] == list(range(500))


def test_leaving_the_block_waits_for_what_was_sent(world: World) -> None:
    told: list[Any] = []
    with Producer(world.settings) as producer:
        for n in range(300):
            producer.send(world.Ordered("o-1", n), on_delivery=lambda event, outcome: told.append((event, outcome)))
    assert len(world.records(world.orders)) == 300
    assert [outcome.offset for _, outcome in told] == list(range(300))
    assert [event.quantity for event, _ in told] == list(range(300))


def test_a_refused_event_is_told_to_who_waits_for_it(world: World) -> None:
    with Producer(world.settings) as producer:
        with pytest.raises(PublishError, match=f"topic {world.stock}: the broker refused the record"):
            producer.publish(world.Reserved("o-1", by=TOO_LARGE))
        with pytest.raises(PublishError, match="1 of 2 events were refused"):
            producer.publish_many([world.Reserved("o-1"), world.Reserved("o-2", by=TOO_LARGE)])


def test_a_refused_send_is_told_by_its_callback_or_by_the_next_flush(world: World) -> None:
    told: list[Any] = []
    with Producer(world.settings) as producer:
        producer.send(world.Reserved("o-1", by=TOO_LARGE), on_delivery=lambda event, outcome: told.append(outcome))
        producer.flush()
        assert isinstance(told[0], PublishError)
        producer.send(world.Reserved("o-1", by=TOO_LARGE))
        with pytest.raises(PublishError, match="1 events that were sent were refused"):
            producer.flush()
        producer.flush()  # told once


def test_leaving_the_block_tells_of_a_refused_send_unless_the_block_raised(world: World) -> None:
    with pytest.raises(PublishError, match="were refused"), Producer(world.settings) as producer:
        producer.send(world.Reserved("o-1", by=TOO_LARGE))

    def fail() -> None:
        with Producer(world.settings) as producer:
            producer.send(world.Reserved("o-1", by=TOO_LARGE))
            producer.send(world.Ordered("o-1"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(world.records(world.orders)) == 1


def test_a_transaction_is_seen_as_a_whole_or_not_at_all(world: World) -> None:
    def fail(producer: Producer) -> None:
        with producer.transaction() as transaction:
            transaction.publish(world.Ordered("o-1"), event_id="e-1")
            raise ZeroDivisionError

    with Producer(world.settings) as producer:
        with pytest.raises(ZeroDivisionError):
            fail(producer)
        with producer.transaction() as transaction:
            transaction.publish(world.Ordered("o-1"), event_id="e-2")
            transaction.publish(world.Reserved("o-1"), event_id="e-3")
            assert world.records(world.orders) == []
    assert (ids(world, world.orders), ids(world, world.stock)) == (["e-2"], ["e-3"])


def test_a_tombstone_is_a_record_without_value(world: World) -> None:
    with Producer(world.settings) as producer:
        producer.publish(world.Ordered("o-1"))
        where = producer.publish_tombstone(world.Ordered, "o-1")
    last = world.records(world.orders)[-1]
    assert (last.key, last.value, last.offset) == (b"o-1", None, where.offset)


def test_several_threads_publish_with_one_producer(world: World) -> None:
    with Producer(world.settings) as producer:
        found: list[RecordMetadata] = []
        threads = [
            threading.Thread(target=lambda n=n: found.append(producer.publish(world.Ordered(f"o-{n}"))))
            for n in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sorted(one.offset for one in found) == list(range(20))


def test_what_is_no_event_or_does_not_fit_is_told_before_anything_is_sent(world: World) -> None:
    with Producer(world.settings) as producer:
        with pytest.raises(EventDefinitionError):
            producer.publish("no event")
        with pytest.raises(EncodeError):
            producer.publish_many([world.Ordered("o-1"), world.Ordered("o-2", quantity="many")])
    assert world.records(world.orders) == []


def test_a_closed_producer_says_so(world: World) -> None:
    producer = Producer(world.settings)
    producer.close()
    producer.close()
    with pytest.raises(PublishError, match="is closed"):
        producer.publish(world.Ordered("o-1"))


def test_where_no_broker_answers_a_script_is_told_at_once(world: World) -> None:
    kafka = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}")
    started = time.monotonic()
    with (
        pytest.raises(BrokerUnavailable, match="Is it running"),
        Producer(msgspec.structs.replace(world.settings, kafka=kafka)) as producer,
    ):
        producer.publish(world.Ordered("o-1"))
    assert time.monotonic() - started < 20


def test_what_nobody_acknowledges_is_told_when_time_is_up(world: World) -> None:
    faults = world.broker.faults
    changed = msgspec.structs.replace
    kafka = changed(world.settings.kafka, bootstrap_servers=faults.bootstrap_servers, publish_timeout_s=1.0)
    producer = Producer(changed(world.settings, kafka=kafka))
    producer.publish(world.Ordered("o-1"))
    with faults.error("Produce", "NOT_ENOUGH_REPLICAS", times=None):
        with pytest.raises(PublishError, match="1 of 1 events were not acknowledged within 1 s"):
            producer.publish(world.Ordered("o-2"))
        with pytest.raises(PublishError, match="1 events that were sent are not acknowledged after 1 s"):
            producer.close()
