"""Readers and writers of Avro in other languages, unmodified, with our registry and the topic on each broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Annotated

import pytest
from confluent_kafka import Consumer, Producer

from ottla.events import Digits, event
from ottla.events.schema import schema_text
from ottla.registry import RegistryClient
from ottla.serde import Deserializer, Serializer
from ottla.testing import Broker, EmbeddedRegistry
from tests.clients import programs
from tests.clients.conftest import require
from tests.contracts.clients import create_topic


class Status(Enum):
    NEW = "NEW"
    PAID = "PAID"


@dataclass
class OrderKey:
    order_id: str


@event("orders", namespace="shop")
@dataclass
class Order:
    order_id: str
    total: Annotated[Decimal, Digits(9, 2)]
    status: Status
    note: str | None = None
    tags: list[str] = field(default_factory=list)


ORDERS = [
    Order("python-0", Decimal("99.95"), Status.NEW, "Grüße", ["x"]),
    Order("python-1", Decimal("-1.05"), Status.PAID),
]


@pytest.fixture
def registry(broker: Broker) -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(broker.bootstrap_servers) as started:
        yield started


@pytest.fixture
def topic(broker: Broker, topic_name: str) -> str:
    return create_topic(broker, topic_name)


@pytest.fixture
def written(broker: Broker, registry: EmbeddedRegistry, topic: str) -> str:
    """The topic, with Ottla's records in it."""
    serializer = Serializer(RegistryClient(registry.url), strategy="topic")
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for order in ORDERS:
        key = serializer.encode_key(OrderKey(order.order_id), topic)
        producer.produce(topic, serializer.encode(order, topic), key)
    assert producer.flush(20) == 0
    return topic


def read(broker: Broker, topic: str, count: int, group: str) -> list[tuple[bytes, bytes]]:
    config = {"bootstrap.servers": broker.bootstrap_servers, "group.id": group, "auto.offset.reset": "earliest"}
    consumer = Consumer(config)
    try:
        consumer.subscribe([topic])
        found = [(message.key() or b"", message.value() or b"") for message in consumer.consume(count, 30)]
    finally:
        consumer.close()
    assert len(found) == count
    return found


def test_javas_avro_serializers_write_what_ottla_reads_and_read_what_it_writes(
    request: pytest.FixtureRequest, broker: Broker, registry: EmbeddedRegistry, written: str, group_name: str
) -> None:
    require(request, "Confluent Java")
    arguments = (broker.bootstrap_servers, registry.url, written, schema_text(OrderKey), schema_text(Order))
    rows = [line.split("\t") for line in programs.run_confluent_java(*arguments).splitlines()]
    keys, values = ([json.loads(row[column]) for row in rows] for column in (0, 1))
    assert [key["order_id"] for key in keys] == ["python-0", "python-1", "java-0", "java-1", "java-2"]
    assert [value["order_id"] for value in values] == [key["order_id"] for key in keys]
    assert (values[0]["status"], values[0]["note"], values[0]["tags"]) == ("NEW", "Grüße", ["x"])
    assert (values[1]["status"], values[1]["note"], values[1]["tags"]) == ("PAID", None, [])

    read_back = Deserializer(RegistryClient(registry.url))
    records = read(broker, written, 5, group_name)
    assert [read_back.decode(value, Order) for _key, value in records] == [
        *ORDERS,
        *(
            Order(f"java-{way}", Decimal("12.50"), Status.PAID, f"way {way}" if way else None, ["a", "b"])
            for way in range(3)
        ),
    ]
    assert [read_back.decode(key, OrderKey).order_id for key, _value in records] == [key["order_id"] for key in keys]
    # The same schema, so the same id: nobody registered another.
    assert len({value[:5] for _key, value in records}) == 1
    assert RegistryClient(registry.url).versions(f"{written}-value") == [1]


def test_kcat_decodes_what_ottla_writes(
    request: pytest.FixtureRequest, broker: Broker, registry: EmbeddedRegistry, written: str
) -> None:
    require(request, "kcat with Avro")
    lines = programs.run_kcat_avro(broker.bootstrap_servers, registry.url, written)
    keys, values = ([json.loads(line.split("\t")[column]) for line in lines] for column in (0, 1))
    assert keys == [{"order_id": order.order_id} for order in ORDERS]
    assert [value["order_id"] for value in values] == ["python-0", "python-1"]
    assert [value["status"] for value in values] == ["NEW", "PAID"]
    assert [value["note"] for value in values] == [{"string": "Grüße"}, None]
    assert [value["tags"] for value in values] == [["x"], []]
