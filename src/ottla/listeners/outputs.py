"""Makes records of what handlers return: serialised, in an envelope, under ids that a redelivery repeats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

import msgspec

from ottla.errors import EventDefinitionError
from ottla.events import EventType, derived_event_id, event_type, new_event_id
from ottla.events.envelope import EnvelopeWriter
from ottla.kafka.record import Headers
from ottla.kafka.topics import ServiceTopics
from ottla.listeners.context import Context
from ottla.serde.formats import Encoder
from ottla.serde.registry import SchemaRegistry
from ottla.serde.serializer import Serializer, key_class
from ottla.settings import Settings


def make_serializer(settings: Settings, registry: SchemaRegistry) -> Serializer:
    """What events are written with, as the settings say."""
    return Serializer(
        registry,
        auto_register=settings.registry.auto_register,
        format=settings.serde.format,
        strategy=settings.serde.subject_strategy,
    )


class EventOptions(TypedDict, total=False):
    """What may be said of an event that is published.

    Attributes:
        key: The record's key; None takes the event's key field.
        headers: Further headers.
        event_id: Repeat the id when you repeat the publish, and consumers can tell. None makes a new one.
        correlation_id: None starts a new correlation with this event.
        causation_id: The id of the event that led to this one.
        topic: Another topic than the one its class says.
    """

    key: bytes | None
    headers: Headers | None
    event_id: str | None
    correlation_id: str | None
    causation_id: str | None
    topic: str | None


class Outgoing(msgspec.Struct, eq=False, gc=False):
    """One event, ready to be sent. Partition -1 goes by the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    partition: int = -1


class Outputs:
    """Turns events into records.

    Args:
        serializer: Writes their values.
        topics: Asked for the topic of each class before its first event.
        service: Their source.
    """

    def __init__(self, serializer: Serializer, topics: ServiceTopics, service: str) -> None:
        self._serializer = serializer
        self._topics = topics
        self._makers: dict[type, Maker] = {}
        self._elsewhere: dict[tuple[type, str], Maker] = {}  # to another topic than the class says
        self._service = service

    def topic_of(self, cls: type) -> str:
        """The topic of an event class, as it is called in the cluster."""
        return self._topics.named(event_type(cls).topic)

    def key_of(self, cls: type, key: Any) -> bytes:
        """The bytes of a key of an event class: text as it is, a record with its schema, which may block for its id.

        Raises:
            EventDefinitionError, EncodeError: It is none of the class's keys.
            RegistryUnavailable, RegistryRejected: As the registry says.
        """
        typed = key_class(cls)
        if typed is not None and not isinstance(key, typed):
            raise EventDefinitionError(
                f"the keys of {cls.__qualname__} are {typed.__qualname__}, not {type(key).__qualname__}"
            )
        return str(key).encode() if typed is None else self._serializer.encode_key(key, self.topic_of(cls))

    def knows(self, event: Any, topic: str | None = None) -> bool:
        """Whether preparing `event` will not block: the first of its class asks for its topic and its schema's id."""
        return type(event) in self._makers if topic is None else (type(event), topic) in self._elsewhere

    def prepare(self, events: list[Any], context: Context, handler: str) -> list[Outgoing]:
        """Serialises all of a handler's events before the first is sent, so that one that does not fit fails the
        handler with nothing published.

        Raises:
            EventDefinitionError, EncodeError: What was returned is not an event, or does not fit its schema.
            RegistryUnavailable, RegistryRejected: As the registry says.
            BrokerUnavailable, KafkaError: The topic is missing and could not be created.
        """
        cause_id, correlation_id = context.flow
        makers = []
        for event in events:
            maker = self._makers.get(type(event))
            if maker is None:
                _require_event(event, handler)
                maker = self._introduce(event)
            makers.append(maker)
        return [
            maker.make(
                event,
                derived_event_id(cause_id, self._service, handler, maker.name, str(index)),
                correlation_id,
                cause_id,
            )
            for index, (maker, event) in enumerate(zip(makers, events, strict=True))
        ]

    def prepare_caused(self, event: Any, cause_id: str, correlation_id: str, handler: str) -> Outgoing:
        """As `prepare`, of one event whose class is known (`knows`)."""
        maker = self._makers[type(event)]
        event_id = derived_event_id(cause_id, self._service, handler, maker.name, "0")
        return maker.make(event, event_id, correlation_id, cause_id)

    def prepare_one(
        self,
        event: Any,
        *,
        key: bytes | None = None,
        headers: Headers | None = None,
        event_id: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        topic: str | None = None,
    ) -> Outgoing:
        """A record of an event that no record in hand led to; see `EventOptions`. Raises as `prepare`."""
        identity = event_id or new_event_id()
        outgoing = self.maker(event, topic).make(event, identity, correlation_id or identity, causation_id)
        if key is not None:
            outgoing.key = key
        if headers:
            outgoing.headers += headers
        return outgoing

    def maker(self, event: Any, topic: str | None = None) -> Maker:
        """What makes records of an event's class, for its own topic or another. Blocks for its topic and its schema's
        id where `knows` says no.

        Raises:
            EventDefinitionError, RegistryUnavailable, RegistryRejected, BrokerUnavailable, KafkaError: As `prepare`.
        """
        if topic is None:
            return self._makers.get(type(event)) or self._introduce(event)
        return self._elsewhere.get((type(event), topic)) or self._introduce(event, topic)

    def _introduce(self, event: Any, elsewhere: str | None = None) -> Maker:
        kind = event_type(event)
        topic = self._topics.named(kind.topic if elsewhere is None else elsewhere)
        self._topics.ensure([topic])
        prefix, encode = self._serializer.prepare(kind.cls, topic)
        writer = EnvelopeWriter(kind.name, f"/{self._service}", self._serializer.content_type(kind.cls))
        maker = Maker(kind, topic, prefix, encode, writer, self._serializer.key_writer(kind.cls, topic))
        if elsewhere is None:
            self._makers[kind.cls] = maker
        else:
            self._elsewhere[kind.cls, elsewhere] = maker
        return maker


class Maker:
    """Makes records of the events of one class.

    Attributes:
        name, topic: Of the event type.
        key: Gives an event's key.
        headers: Gives the headers of a new event, by its id, correlation id and causation id.
    """

    __slots__ = ("_encode", "_prefix", "headers", "key", "name", "topic")

    def __init__(
        self,
        kind: EventType,
        topic: str,
        prefix: bytes,
        encode: Encoder,
        writer: EnvelopeWriter,
        key: Callable[[Any], bytes | None],
    ) -> None:
        self.name = kind.name
        self.topic = topic
        self.key = key
        self.headers = writer.headers
        self._prefix = prefix
        self._encode = encode

    def value(self, event: Any) -> bytes:
        """An event's bytes. Raises EncodeError."""
        return self._encode(event, self._prefix)

    def make(self, event: Any, event_id: str, correlation_id: str, causation_id: str | None) -> Outgoing:
        return Outgoing(
            self.topic,
            self.key(event),
            self._encode(event, self._prefix),
            self.headers(event_id, correlation_id, causation_id),
        )


def _require_event(returned: Any, handler: str) -> None:
    try:
        event_type(returned)
    except EventDefinitionError as error:
        raise EventDefinitionError(
            f"what handler {handler} returned cannot be published (an event, a list of events or None can): {error}"
        ) from None
