"""Events to bytes and back: Avro in Confluent's wire form."""

from ottla.serde.avro import active_codec
from ottla.serde.deserializer import Deserializer, schema_runs
from ottla.serde.registry import SchemaRegistry
from ottla.serde.serializer import Serializer, subject

__all__ = ["Deserializer", "SchemaRegistry", "Serializer", "active_codec", "schema_runs", "subject"]
