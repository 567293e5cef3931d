"""From events to the bytes of a record's value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ottla.errors import EventDefinitionError
from ottla.events.declaration import declared_event, event_type
from ottla.events.derivation import record_shape
from ottla.events.shapes import Record, Scalar, Union
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
        key_strategy: The same for keys that have a schema; with `topic`, which is what Confluent's clients do,
            `<topic>-key`.
    """

    def __init__(
        self,
        registry: SchemaRegistry,
        *,
        auto_register: bool = True,
        format: FormatName = "avro",
        strategy: SubjectStrategy = "topic-record",
        key_strategy: SubjectStrategy = "topic",
    ) -> None:
        self._registry = registry
        self._format: FormatName = format
        self._strategy: SubjectStrategy = strategy
        self._key_strategy: SubjectStrategy = key_strategy
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
        """The key of a record, from an instance of a class: for topics whose keys have a schema of their own.

        Raises: As `encode`.
        """
        prefix, encode = self._keys.get((topic, obj.__class__)) or self._prepare_key(obj.__class__, topic)
        return encode(obj, prefix)

    def key_writer(self, cls: type, topic: str) -> Callable[[Any], bytes | None]:
        """What gives the record keys of an event class: its key field as text, or, where that is a record, with a
        schema of its own, which is registered here.

        Raises: As `prepare`; what it gives raises EncodeError.
        """
        declared, typed = event_type(cls), key_class(cls)
        if typed is None:
            return declared.key_of
        prefix, encode = self._prepare_key(typed, topic)
        attribute = declared.key or ""

        def key(event: Any) -> bytes | None:
            value = getattr(event, attribute)
            return None if value is None else encode(value, prefix)

        return key

    def _prepare_key(self, cls: type, topic: str) -> tuple[bytes, Encoder]:
        ready = self._keys[topic, cls] = self._registered(cls, topic, key=True)
        return ready

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
        named = subject(cls, topic, self._key_strategy if key else self._strategy, key=key)
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


def key_class(cls: type) -> type | None:
    """The class of an event's key if it has a schema of its own: the key field is a record, or one or None. None if the
    event has no key, or one that is text, a number, ...

    Raises:
        EventDefinitionError: The class is no event, or cannot have a schema; its key may be a record or something else,
            and a topic has keys of one type.
    """
    declared = event_type(cls)
    if declared.key is None:
        return None
    shape = next(field.shape for field in record_shape(cls).fields if field.attribute == declared.key)
    branches = [
        branch
        for branch in (shape.branches if isinstance(shape, Union) else (shape,))
        if not (isinstance(branch, Scalar) and branch.kind == "null")
    ]
    records = [branch for branch in branches if isinstance(branch, Record)]
    if records and len(branches) > 1:
        raise EventDefinitionError(
            f"{cls.__qualname__}: its key {declared.key} may be a {records[0].cls.__qualname__} or something else, but "
            "a topic has keys of one type: give the key field one class"
        )
    return records[0].cls if records else None


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
