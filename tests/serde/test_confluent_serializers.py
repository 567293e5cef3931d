"""confluent_kafka's own Avro serializers read what Ottla writes, and write what Ottla reads."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from ottla.events.schema import schema_text
from ottla.serde import Deserializer, Serializer
from ottla.serde.registry import Registered
from tests.serde import oracle
from tests.serde.memory_registry import MemoryRegistry
from tests.serde.samples import WIDE, Wide

CONTEXT = SerializationContext("wide-events", MessageField.VALUE)


@pytest.fixture
def client() -> Any:
    """Confluent's client over the registry it keeps in memory for tests."""
    return SchemaRegistryClient.new_client({"url": "mock://"})


class Bridged(MemoryRegistry):
    """Ottla's port over Confluent's client, so that both sides agree on ids."""

    def __init__(self, client: Any) -> None:
        super().__init__()
        self.client = client

    def register(self, subject: str, schema: str, kind: str = "AVRO") -> int:
        return int(self.client.register_schema(subject, Schema(schema, kind)))

    def registered(self, schema_id: int) -> Registered:
        return Registered("AVRO", str(self.client.get_schema(schema_id).schema_str))


def test_ottla_reads_what_confluents_serializer_writes(client: Any) -> None:
    serializer = AvroSerializer(client, schema_text(Wide), conf={"subject.name.strategy": record_subject_name_strategy})
    value = serializer(oracle.named_branches(WIDE), CONTEXT)
    assert Deserializer(Bridged(client)).decode(value, Wide) == WIDE


def test_confluents_deserializer_reads_what_ottla_writes(client: Any) -> None:
    value = Serializer(Bridged(client)).encode(WIDE, "wide-events")
    deserializer = AvroDeserializer(client, conf={"subject.name.strategy": record_subject_name_strategy})
    assert deserializer(value, CONTEXT) == oracle.plain_object(WIDE)
