"""Confluent's own client on our registry, unmodified, with the schemas on each broker."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, ServerConfig
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.common.schema_registry_client import ConfigCompatibilityLevel
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from ottla.kafka.admin import Admin
from ottla.settings import KafkaSettings
from ottla.testing import Broker, EmbeddedRegistry

V1: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [{"name": "id", "type": "string"}],
}
V2 = {**V1, "fields": [*V1["fields"], {"name": "total", "type": ["null", "double"], "default": None}]}
BROKEN = {**V1, "fields": [*V1["fields"], {"name": "total", "type": "double"}]}


@pytest.fixture(scope="module")
def registry(request: pytest.FixtureRequest, broker_kind: str) -> Iterator[EmbeddedRegistry]:
    """A registry that keeps its schemas on the broker of this round."""
    kept_by: Broker = request.getfixturevalue("kafka" if broker_kind == "embedded" else "apache_kafka")
    with EmbeddedRegistry(kept_by.bootstrap_servers) as started:
        yield started


@pytest.fixture
def client(broker: Broker, registry: EmbeddedRegistry) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": registry.url})


@pytest.fixture
def subject() -> str:
    return f"s-{uuid.uuid4().hex[:12]}"


def avro(schema: dict[str, Any]) -> Schema:
    return Schema(json.dumps(schema), "AVRO")


def test_events_go_through_a_topic_with_confluents_serializers(
    broker: Broker, client: SchemaRegistryClient, registry: EmbeddedRegistry, topic: str, group_name: str
) -> None:
    context = SerializationContext(topic, MessageField.VALUE)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for schema, order in ((V1, {"id": "a"}), (V2, {"id": "b", "total": 1.5})):
        producer.produce(topic, AvroSerializer(client, json.dumps(schema))(order, context))
    assert producer.flush(10) == 0

    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap_servers, "group.id": group_name, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    values = [message.value() for message in consumer.consume(2, 30)]
    consumer.close()
    fresh = SchemaRegistryClient({"url": registry.url})
    read = AvroDeserializer(fresh, json.dumps(V2))
    assert [read(value, context) for value in values] == [{"id": "a", "total": None}, {"id": "b", "total": 1.5}]


def test_a_serializer_without_auto_registration_looks_the_schema_up(client: SchemaRegistryClient, subject: str) -> None:
    context = SerializationContext(subject, MessageField.VALUE)
    serialize = AvroSerializer(client, json.dumps(V1), conf={"auto.register.schemas": False})
    with pytest.raises(SchemaRegistryError) as refused:
        serialize({"id": "a"}, context)
    assert (refused.value.http_status_code, refused.value.error_code) == (404, 40401)
    registered = client.register_schema(f"{subject}-value", avro(V1))
    value = serialize({"id": "a"}, context)
    assert value is not None
    assert value[:5] == b"\0" + registered.to_bytes(4, "big")


def test_a_serializer_can_use_the_latest_version(client: SchemaRegistryClient, subject: str) -> None:
    client.register_schema(f"{subject}-value", avro(V2))
    context = SerializationContext(subject, MessageField.VALUE)
    serialize = AvroSerializer(client, conf={"auto.register.schemas": False, "use.latest.version": True})
    value = serialize({"id": "a", "total": 2.0}, context)
    assert AvroDeserializer(client)(value, context) == {"id": "a", "total": 2.0}


def test_the_client_registers_reads_and_deletes(client: SchemaRegistryClient, subject: str) -> None:
    first = client.register_schema(subject, avro(V1))
    second = client.register_schema_full_response(subject, avro(V2))
    assert (second.version, second.subject) == (2, subject)
    assert json.loads(client.get_schema(first).schema_str or "") == V1
    assert subject in client.get_subjects()
    assert client.get_versions(subject) == [1, 2]
    assert client.get_latest_version(subject).schema_id == second.schema_id
    assert client.get_version(subject, 1).schema_id == first
    assert client.lookup_schema(subject, avro(V1)).version == 1
    assert second.schema_id is not None
    assert second.guid is not None
    assert subject in client.get_subjects_by_schema_id(second.schema_id)  # other tests' subjects have it, too
    assert (subject, 2) in [(v.subject, v.version) for v in client.get_schema_versions(second.schema_id)]
    by_guid = client.get_schema_by_guid(second.guid)
    assert json.loads(by_guid.schema_str or "") == V2
    assert sorted(client.get_schema_types()) == ["AVRO", "JSON", "PROTOBUF"]
    assert client.get_contexts() == ["."]
    assert client.get_referenced_by(subject, 1) == []
    assert client.delete_version(subject, 1) == 1
    assert client.delete_subject(subject) == [2]
    assert client.delete_subject(subject, permanent=True) == [1, 2]
    assert subject not in client.get_subjects(deleted=True)


def test_the_client_is_told_of_an_incompatible_schema(client: SchemaRegistryClient, subject: str) -> None:
    client.register_schema(subject, avro(V1))
    assert client.test_compatibility(subject, avro(V2))
    assert not client.test_compatibility(subject, avro(BROKEN))
    assert not client.test_compatibility_all_versions(subject, avro(BROKEN))
    with pytest.raises(SchemaRegistryError) as refused:
        client.register_schema(subject, avro(BROKEN))
    assert (refused.value.http_status_code, refused.value.error_code) == (409, 40901)
    assert "READER_FIELD_MISSING_DEFAULT_VALUE" in refused.value.error_message


def test_the_client_sets_levels_and_modes(client: SchemaRegistryClient, subject: str) -> None:
    assert client.get_compatibility() == "BACKWARD"
    client.set_compatibility(subject, "FULL_TRANSITIVE")
    assert client.get_compatibility(subject) == "FULL_TRANSITIVE"
    client.set_config(subject, ServerConfig(compatibility=ConfigCompatibilityLevel.NONE))
    assert client.get_config(subject).compatibility_level == "NONE"
    assert client.delete_config(subject).compatibility_level == "NONE"
    assert client.get_global_mode() == "READWRITE"
    assert client.update_mode(subject, "READONLY") == "READONLY"
    assert client.get_mode(subject) == "READONLY"
    with pytest.raises(SchemaRegistryError) as refused:
        client.register_schema(subject, avro(V1))
    assert refused.value.error_code == 42205
    assert client.delete_mode(subject) == "READONLY"


def test_a_killed_registry_comes_back_with_every_schema(broker: Broker, subject: str) -> None:
    with EmbeddedRegistry(broker.bootstrap_servers) as own:
        before = SchemaRegistryClient({"url": own.url}).register_schema(subject, avro(V1))
        own.kill()
        own.start()
        after = SchemaRegistryClient({"url": own.url})
        assert after.lookup_schema(subject, avro(V1)).schema_id == before
        assert after.register_schema(subject, avro(V2)) > before


def test_the_topic_is_compacted_and_has_one_partition(broker: Broker, client: SchemaRegistryClient) -> None:
    client.get_subjects()
    described = Admin(KafkaSettings(bootstrap_servers=broker.bootstrap_servers)).describe_topic("_schemas")
    assert (len(described.partitions), described.config["cleanup.policy"]) == (1, "compact")
