"""An unknown event type or undecodable bytes on any topic: dead-lettered, and the services go on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from ottla import KafkaSettings, event, event_type
from ottla.kafka.producer import Producer
from ottla.kafka.reader import read_topic
from ottla.processes import free_ports
from ottla.registry.client import RegistryClient
from ottla.serde.serializer import Serializer
from ottla.testing import Broker
from shop.demo.expectations import LISTENS
from shop.demo.said import TOPICS
from shop.orders.domain import order_id_of
from tests.demo.running import RunningDemo


@event("order-events", key="order_id", namespace="elsewhere")
class OrderGiftWrapped(msgspec.Struct):
    """A sound event that the shop has never heard of."""

    order_id: str


def test_bad_records_on_every_topic_become_dead_letters_and_the_orders_go_on(
    own_broker: Broker, tmp_path: Path
) -> None:
    kafka = KafkaSettings(bootstrap_servers=own_broker.bootstrap_servers)
    (registry_port,) = free_ports(1)
    options = ["--exit", "--rate", "25/s", "-b", own_broker.bootstrap_servers, "--registry-port", str(registry_port)]
    with RunningDemo(tmp_path, *options) as demo:
        demo.wait_until(lambda: demo.ended() >= 10, "ten orders had reached their end")
        before = demo.ended()
        registry = RegistryClient(f"http://127.0.0.1:{registry_port}")
        bad = [
            b"\xff\xfe no Avro at all",
            Serializer(registry).encode(OrderGiftWrapped("gift"), "order-events"),
            # The schema of a real event, but bytes that end in the middle of one.
            schema_header_of_order_created(registry) + b"\x02",
        ]
        registry.close()
        producer = Producer(kafka)
        for topic in TOPICS:
            for value in bad:
                producer.send(topic, value, key=b"bad record")
        assert producer.flush(10) == 0
        producer.close()
        status, summary = demo.finish()

    assert status == 0, summary
    assert summary["balanced"]
    assert summary["restarts"] == {}
    assert summary["orders"]["outcomes"]["shipped"] > before
    assert summary["orders"]["outcomes"]["dead_lettered"] == 0
    assert summary["books"]["notes"][0] == f"{len(bad) * len(TOPICS)} records in the topics are no events of the shop."
    for topic in TOPICS:
        dead = list(read_topic(kafka, f"{topic}-dlq"))
        listeners = [service for service, topics in LISTENS.items() if topic in topics]
        for service in listeners:
            letters = [x for x in dead if dict(x.headers)["ottla-service"] == service.encode()]
            assert {letter.value for letter in letters} >= set(bad[:2]), (topic, service)
        for letter in dead:
            headers = dict(letter.headers)
            assert headers["kafka_dlt-original-topic"] == topic.encode()
            assert headers["kafka_dlt-exception-message"]
            assert letter.key == b"bad record"


def test_an_event_that_a_service_cannot_handle_is_dead_lettered_and_the_books_say_so(tmp_path: Path) -> None:
    with RunningDemo(tmp_path, "--exit", "--limit", "1") as demo:
        assert demo.finish()[0] == 0
    # From now on, the shipping database refuses one order, however often it is tried.
    refused = order_id_of("536366")
    with closing(sqlite3.connect(tmp_path / "db" / "shipping.db")) as database:
        database.execute(
            f"CREATE TRIGGER no_van BEFORE INSERT ON shipments WHEN NEW.order_id = '{refused}' "
            "BEGIN SELECT RAISE(ABORT, 'the van is broken'); END"
        )
    with RunningDemo(tmp_path, "--exit", "--limit", "8") as demo:
        status, summary = demo.finish()
    assert status == 0, summary
    outcomes = summary["orders"]["outcomes"]
    assert outcomes["dead_lettered"] == 1
    assert outcomes["in_flight"] == 0
    assert outcomes["shipped"] > 1
    (note,) = summary["books"]["notes"]
    assert note.startswith("shipping gave up on 1 event ")
    assert note.endswith("the van is broken")


def schema_header_of_order_created(registry: RegistryClient) -> bytes:
    from shop.events import OrderCreated

    name = event_type(OrderCreated).name
    _, schema_id, _ = registry.latest(f"order-events-{name}")
    return b"\x00" + schema_id.to_bytes(4, "big")


pytestmark = pytest.mark.timeout(120)
