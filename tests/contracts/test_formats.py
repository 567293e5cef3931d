"""JSON Schema and Protobuf (and Avro): through apps, and both ways with Confluent's own serializers, sync and async."""

from __future__ import annotations

import functools
import inspect
import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest
from confluent_kafka.schema_registry import (
    AsyncSchemaRegistryClient,
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry import avro as confluent_avro
from confluent_kafka.schema_registry import json_schema as confluent_json
from confluent_kafka.schema_registry import protobuf as confluent_protobuf
from confluent_kafka.schema_registry._async import avro as async_avro
from confluent_kafka.schema_registry._async import json_schema as async_json
from confluent_kafka.schema_registry._async import protobuf as async_protobuf
from confluent_kafka.serialization import MessageField, SerializationContext

from ottla import App, RegistryClient, event
from ottla.serde import Deserializer, Serializer
from ottla.serde.formats import FormatName, format_named
from ottla.serde.protobuf.files import load
from ottla.testing import EmbeddedBroker, EmbeddedRegistry
from tests.listeners.harness import World, eventually, headers_of, service


@dataclass
class Item:
    sku: str
    quantity: int = 1


@event("formats-orders", key="order_id", name="Order", namespace="shop")
@dataclass
class Order:
    order_id: str
    total: float
    items: list[Item] = field(default_factory=list)
    note: str | None = None


SENT = Order("o-1", 12.5, [Item("a", 2), Item("b")], "hello")
DICT = asdict(SENT)
NAMED: list[FormatName] = ["avro", "json", "protobuf"]


@pytest.fixture(scope="module")
def registry(kafka: EmbeddedBroker) -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(kafka.bootstrap_servers) as started:
        # The strategy "record" puts all formats under one subject.
        SchemaRegistryClient({"url": started.url}).set_compatibility("shop.Order", "NONE")
        yield started


@pytest.fixture
def formats_topic() -> str:
    return f"formats-{uuid.uuid4().hex[:10]}"


# Through apps


@pytest.mark.parametrize("format", ["json", "protobuf"])
async def test_an_app_publishes_and_handles_events_of_the_format(world: World, format: FormatName) -> None:
    name = uuid.uuid4().hex[:8]

    @event(f"asked-{name}", key="order_id", format=format)
    @dataclass
    class Asked:
        order_id: str
        items: list[Item]

    @event(f"answered-{name}", key="order_id", format=format)
    @dataclass
    class Answered:
        order_id: str
        pieces: int

    app = service(world)
    seen: list[Any] = []

    @app.listen(Asked)
    async def answer(asked: Any) -> Any:
        return Answered(asked.order_id, sum(item.quantity for item in asked.items))

    @app.listen(Answered)
    def note(answered: Any) -> None:
        seen.append(answered)

    async with app.running():
        await app.publish(Asked("o-1", [Item("a", 2), Item("b", 3)]))
        await eventually(lambda: seen, what="the answer")
        world.write(f"asked-{name}", b"\0\0\0\0\1rubbish", b"no event at all")
        letters = await eventually(lambda: len(found := world.dead_letters(f"asked-{name}")) == 2 and found)
    assert seen == [Answered("o-1", 5)]
    [record] = world.records(f"answered-{name}")
    assert headers_of(record)["content-type"] == f"application/{format}".encode()
    kinds = {one["subject"]: one["schemaType"] for one in _all_schemas(world.registry.url)}
    assert kinds[f"asked-{name}-Asked"] == {"json": "JSON", "protobuf": "PROTOBUF"}[format]
    assert len(letters) == 2


async def test_a_running_app_does_without_its_registry(world: World) -> None:
    """Of its own, because it is killed."""
    name = uuid.uuid4().hex[:8]
    with EmbeddedRegistry(world.broker.bootstrap_servers) as own:
        alone = World(world.broker, own)
        classes = []
        for format in ("json", "protobuf"):

            @event(f"alone-{format}-{name}", format=format)  # type: ignore[arg-type]  # a list of literals
            @dataclass
            class Told:
                number: int

            classes.append(Told)
        app = App(alone.group, settings=alone.settings)
        seen: list[tuple[str, int]] = []

        def make(cls: type) -> None:
            @app.listen(cls, name=f"note-{len(app.listeners)}")
            def note(told: Any) -> None:
                seen.append((type(told).__qualname__, told.number))

        for cls in classes:
            make(cls)
        async with app.running():
            for cls in classes:
                await app.publish(cls(1))
            await eventually(lambda: len(seen) == 2)
            own.kill()
            for cls in classes:
                await app.publish(cls(2))
            await eventually(lambda: len(seen) == 4, what="events without a registry")


@pytest.mark.parametrize("format", NAMED)
async def test_an_app_reads_events_whose_schema_is_named_in_a_header(world: World, format: FormatName) -> None:
    name = uuid.uuid4().hex[:8]
    topic = f"headed-{name}"

    @event(topic, format=format)
    @dataclass
    class Headed:
        order_id: str

    app = service(world)
    seen: list[str] = []

    @app.listen(Headed)
    def note(headed: Any) -> None:
        seen.append(headed.order_id)

    async with app.running():
        await app.publish(Headed("with prefix"))
        await eventually(lambda: seen, what="the first event")
        client = RegistryClient(world.registry.url)
        [stored] = [one for one in _all_schemas(world.registry.url) if one["subject"].startswith(topic)]
        payload = Serializer(client).encode(Headed("with header"), topic)[5:]
        indexes = b"\0" if format == "protobuf" else b""
        world.write(
            topic,
            payload.removeprefix(indexes),
            headers=[("__value_schema_id", b"\1" + uuid.UUID(stored["guid"]).bytes + indexes)],
        )
        await eventually(lambda: len(seen) == 2, what="the event with a header")
    assert seen == ["with prefix", "with header"]


def _all_schemas(url: str) -> Any:
    import httpx

    return httpx.get(f"{url}/schemas").json()


# Confluent's serializers


def _ours(registry: EmbeddedRegistry, format: FormatName) -> tuple[Serializer, Deserializer]:
    client = RegistryClient(registry.url)
    return Serializer(client, format=format), Deserializer(client)


@functools.cache
def _message_class() -> Any:
    return load(format_named("protobuf").schema_text(Order)).message_class("shop.Order")


async def _done(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


RECORD_NAME = {"subject.name.strategy.type": "TOPIC_RECORD"}


async def _theirs(format: FormatName, kind: str, url: str, more: dict[str, Any]) -> tuple[Any, Any]:
    """Confluent's serializer and deserializer of a format."""
    text = format_named(format).schema_text(Order)
    client: Any = SchemaRegistryClient({"url": url}) if kind == "sync" else AsyncSchemaRegistryClient({"url": url})
    sync = kind == "sync"
    if format == "avro":
        made = (
            (confluent_avro.AvroSerializer, confluent_avro.AvroDeserializer)
            if sync
            else (async_avro.AsyncAvroSerializer, async_avro.AsyncAvroDeserializer)
        )
        return await _done(made[0](client, text, conf=more)), await _done(made[1](client))
    if format == "json":
        made = (
            (confluent_json.JSONSerializer, confluent_json.JSONDeserializer)
            if sync
            else (async_json.AsyncJSONSerializer, async_json.AsyncJSONDeserializer)
        )
        return await _done(made[0](text, client, conf=more)), await _done(made[1](text, schema_registry_client=client))
    made = (
        (confluent_protobuf.ProtobufSerializer, confluent_protobuf.ProtobufDeserializer)
        if sync
        else (async_protobuf.AsyncProtobufSerializer, async_protobuf.AsyncProtobufDeserializer)
    )
    cls = _message_class()
    given = {"use.deprecated.format": False}
    return (
        await _done(made[0](cls, client, conf={**given, **more})),
        await _done(made[1](cls, given, schema_registry_client=client)),
    )


def _their_value(format: FormatName) -> Any:
    if format != "protobuf":
        return DICT
    return _message_class()(order_id="o-1", total=12.5, items=DICT["items"], note="hello")


def _as_dict(found: Any) -> Any:
    if isinstance(found, dict):
        return found
    return {
        "order_id": found.order_id,
        "total": found.total,
        "items": [{"sku": item.sku, "quantity": item.quantity} for item in found.items],
        "note": found.note,
    }


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("format", NAMED)
async def test_confluents_deserializer_reads_what_ottla_writes(
    registry: EmbeddedRegistry, formats_topic: str, format: FormatName, kind: str
) -> None:
    serializer, _deserializer = _ours(registry, format)
    value = serializer.encode(SENT, formats_topic)
    _theirs_out, theirs_in = await _theirs(format, kind, registry.url, {})
    found = await _done(theirs_in(value, SerializationContext(formats_topic, MessageField.VALUE)))
    assert _as_dict(found) == DICT


@pytest.mark.parametrize("strategy", ["topic", "record", "topic-record"])
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("format", NAMED)
async def test_ottla_reads_what_confluents_serializer_writes(
    registry: EmbeddedRegistry, formats_topic: str, format: FormatName, kind: str, strategy: str
) -> None:
    names = {"topic": "TOPIC", "record": "RECORD", "topic-record": "TOPIC_RECORD"}
    theirs_out, _theirs_in = await _theirs(format, kind, registry.url, {"subject.name.strategy.type": names[strategy]})
    value = await _done(theirs_out(_their_value(format), SerializationContext(formats_topic, MessageField.VALUE)))
    _serializer, deserializer = _ours(registry, format)
    assert deserializer.record_name(value) == "shop.Order"
    assert deserializer.decode(value, Order) == SENT
    shown = deserializer.decode_to_dict(value)
    assert shown["order_id"] == "o-1"


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("format", NAMED)
async def test_ottla_reads_what_confluents_serializer_names_in_a_header(
    registry: EmbeddedRegistry, formats_topic: str, format: FormatName, kind: str
) -> None:
    theirs_out, _theirs_in = await _theirs(
        format, kind, registry.url, {"schema.id.serializer": header_schema_id_serializer}
    )
    context = SerializationContext(formats_topic, MessageField.VALUE, headers=[])
    payload = await _done(theirs_out(_their_value(format), context))
    _serializer, deserializer = _ours(registry, format)
    framed = deserializer.framed(payload, context.headers)  # type: ignore[arg-type]  # a list of pairs
    assert framed != payload
    assert deserializer.record_name(framed) == "shop.Order"
    assert deserializer.decode(framed, Order) == SENT


def test_schemas_with_references_are_read(registry: EmbeddedRegistry, formats_topic: str) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    item_avro = '{"type":"record","name":"Item","namespace":"shop","fields":[{"name":"sku","type":"string"},' \
        '{"name":"quantity","type":"long","default":1}]}'  # fmt: skip
    item_json = json.dumps(
        {"type": "object", "properties": {"sku": {"type": "string"}, "quantity": {"type": "integer"}}}
    )
    item_proto = 'syntax = "proto3"; package shop; message Item { string sku = 1; int64 quantity = 2; }'
    order_avro = '{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"order_id","type":"string"},' \
        '{"name":"total","type":"double"},{"name":"items","type":{"type":"array","items":"shop.Item"}},' \
        '{"name":"note","type":["null","string"],"default":null}]}'  # fmt: skip
    order_json = json.dumps(
        {"title": "shop.Order", "type": "object",
         "properties": {"order_id": {"type": "string"}, "items": {"type": "array", "items": {"$ref": "item.json"}}}}
    )  # fmt: skip
    order_proto = (
        'syntax = "proto3"; package shop; import "item.proto"; message Order { string order_id = 1; double total = 2; '
        "repeated Item items = 3; optional string note = 4; }"
    )
    for kind, name, item, order in (
        ("AVRO", "shop.Item", item_avro, order_avro),
        ("JSON", "item.json", item_json, order_json),
        ("PROTOBUF", "item.proto", item_proto, order_proto),
    ):
        item_subject = f"{formats_topic}-{kind}-item"
        item_id = client.register_schema(item_subject, Schema(item, kind))
        reference = SchemaReference(name, item_subject, 1)
        order_id = client.register_schema(f"{formats_topic}-{kind}", Schema(order, kind, [reference]))
        assert client.get_referenced_by(item_subject, 1) == [order_id] != [item_id]
        format: FormatName = {"AVRO": "avro", "JSON": "json", "PROTOBUF": "protobuf"}[kind]  # type: ignore[assignment]
        payload = format_named(format).encoder(Order)(SENT)
        indexes = b"\0" if kind == "PROTOBUF" else b""
        value = b"\0" + order_id.to_bytes(4, "big") + indexes + payload
        deserializer = Deserializer(RegistryClient(registry.url))
        assert deserializer.record_name(value) == "shop.Order"
        assert deserializer.decode(value, Order) == SENT
        assert deserializer.decode_to_dict(value)["items"][0]["sku"] == "a"
