"""From events to the bytes of a record's value."""

from __future__ import annotations

from typing import Any, Literal

from ottla.events.declaration import declared_event
from ottla.events.derivation import record_shape
from ottla.serde import wire
from ottla.serde.formats import Encoder, FormatName, format_of_class
from ottla.serde.registry import SchemaRegistry

SubjectStrategy = Literal["topic-record", "topic", "record"]


class Serializer:
    """Writes events in Confluent's wire form, registering each schema before its first use on a topic.

    The subject is `<topic>-<full record name>` (Confluent's TopicRecordNameStrategy) unless another strategy is chosen,
    so several event types can share a topic and each evolves on its own. Safe to use from several threads.

    Args:
        registry: Where schemas are registered.
        auto_register: Register schemas that are not there yet; with False they must be there already.
        format: What classes are written in that name no format themselves.
        strategy: What a subject is called: `topic-record`; `topic` (`<topic>-value`, for topics with one event type);
            `record` (one subject for a type on all topics).
    """

    def __init__(
        self,
        registry: SchemaRegistry,
        *,
        auto_register: bool = True,
        format: FormatName = "avro",
        strategy: SubjectStrategy = "topic-record",
    ) -> None:
        self._registry = registry
        self._format: FormatName = format
        self._strategy: SubjectStrategy = strategy
        self._keys: dict[tuple[str, type], tuple[bytes, Encoder]] = {}
        self._auto_register = auto_register
        # topic -> class -> (wire prefix, encoder). Two threads may both fill an entry; they get the same id.
        self._ready: dict[str, dict[type, tuple[bytes, Encoder]]] = {}

    def encode(self, obj: Any, topic: str) -> bytes:
        """The value of the record that carries an event.

        Blocks for the registry the first time a class meets a topic, and never again.

        Raises:
            EncodeError: The event does not fit its schema; names the field.
            EventDefinitionError: No schema can be derived from its class.
            RegistryUnavailable: The registry does not answer, and the schema's id is not known yet.
            RegistryRejected: The registry refuses the schema (incompatible), or with `auto_register=False` does not
                have it.
        """
        try:
            prefix, encode = self._ready[topic][obj.__class__]
        except KeyError:
            prefix, encode = self.prepare(obj.__class__, topic)
        return encode(obj, prefix)

    def encode_key(self, obj: Any, topic: str) -> bytes:
        """The key of a record, from an instance of a class: for topics whose keys have a schema of their own. With the
        strategy `topic` its subject is `<topic>-key`.

        Raises: As `encode`.
        """
        ready = self._keys.get((topic, obj.__class__))
        if ready is None:
            ready = self._keys[topic, obj.__class__] = self._registered(obj.__class__, topic, key=True)
        return ready[1](obj, ready[0])

    def prepare(self, cls: type, topic: str) -> tuple[bytes, Encoder]:
        """Does for a class and a topic what the first `encode` would do: services call it at start to fail early.

        Raises:
            EventDefinitionError, RegistryUnavailable, RegistryRejected: As `encode`.
        """
        ready = self._registered(cls, topic, key=False)
        self._ready.setdefault(topic, {})[cls] = ready
        return ready

    def _registered(self, cls: type, topic: str, *, key: bool) -> tuple[bytes, Encoder]:
        chosen = format_of_class(cls, self._format)
        encode = chosen.encoder(cls)
        ask = self._registry.register if self._auto_register else self._registry.lookup
        named = subject(cls, topic, self._strategy, key=key)
        schema_id = ask(named, chosen.schema_text(cls), chosen.kind)
        return wire.prefix(schema_id) + chosen.prefix, encode

    def content_type(self, cls: type) -> bytes:
        """What the envelope says of the payload of a class's events."""
        return format_of_class(cls, self._format).content_type

    def schema_text(self, cls: type) -> str:
        """The schema of a class, in the format it is written in.

        Raises:
            EventDefinitionError: None can be derived, or the format's package is not installed.
        """
        return format_of_class(cls, self._format).schema_text(cls)


def subject(cls: type, topic: str, strategy: SubjectStrategy = "topic-record", *, key: bool = False) -> str:
    """The registry's subject for a class on a topic.

    Raises:
        EventDefinitionError: The class cannot have a schema.
    """
    if strategy == "topic":
        return f"{topic}-{'key' if key else 'value'}"
    declared = declared_event(cls)
    name = declared.name if declared else record_shape(cls).full_name
    return name if strategy == "record" else f"{topic}-{name}"
