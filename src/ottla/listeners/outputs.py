"""Makes records of what handlers return: serialised, in an envelope, under ids that a redelivery repeats."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ottla.errors import EventDefinitionError
from ottla.events import Envelope, derived_event_id, envelope_headers, event_type
from ottla.kafka.topics import ServiceTopics
from ottla.listeners.context import Context
from ottla.serde.serializer import Serializer


class Outgoing:
    """One event, ready to be sent."""

    __slots__ = ("headers", "key", "topic", "value")

    def __init__(
        self, topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
    ) -> None:
        self.topic = topic
        self.key = key
        self.value = value
        self.headers = headers


class Outputs:
    """Turns events into records."""

    def __init__(self, serializer: Serializer, topics: ServiceTopics, service: str) -> None:
        self._serializer = serializer
        self._topics = topics
        self._introduced: set[type] = set()
        self._content_types: dict[type, bytes] = {}
        self._service = service
        self._source = f"/{service}"

    def topic_of(self, cls: type) -> str:
        """The topic of an event class, as it is called in the cluster."""
        return self._topics.named(event_type(cls).topic)

    def knows(self, event: Any) -> bool:
        """Whether preparing `event` will not block: the first of its class asks for its topic and its schema's id."""
        return type(event) in self._introduced

    def prepare(self, events: list[Any], context: Context, handler: str) -> list[Outgoing]:
        """Serialises all of a handler's events before the first is sent, so that one that does not fit fails the
        handler with nothing published.

        Raises:
            EventDefinitionError, EncodeError: What was returned is not an event, or does not fit its schema.
            RegistryUnavailable, RegistryRejected: As the registry says.
            BrokerUnavailable, KafkaError: The topic is missing and could not be created.
        """
        cause = context.envelope
        for event in events:
            if not self.knows(event):
                _require_event(event, handler)
        return [
            self.prepare_one(
                event,
                event_id=derived_event_id(cause.id, self._service, handler, event_type(event).name, str(index)),
                correlation_id=cause.correlation_id,
                causation_id=cause.id,
            )
            for index, event in enumerate(events)
        ]

    def prepare_one(
        self,
        event: Any,
        *,
        event_id: str,
        correlation_id: str,
        causation_id: str | None,
        key: bytes | None = None,
        headers: list[tuple[str, bytes | None]] | None = None,
    ) -> Outgoing:
        kind = event_type(event)
        envelope = Envelope(
            id=event_id,
            type=kind.name,
            source=self._source,
            time=datetime.now(UTC),
            correlation_id=correlation_id,
            causation_id=causation_id,
        )
        topic = self._topics.named(kind.topic)
        if kind.cls not in self._introduced:
            self._topics.ensure([topic])
        outgoing = Outgoing(
            topic=topic,
            key=kind.key_of(event) if key is None else key,
            value=self._serializer.encode(event, topic),
            headers=[*envelope_headers(envelope, self._content_type(kind.cls)), *(headers or ())],
        )
        self._introduced.add(kind.cls)
        return outgoing

    def _content_type(self, cls: type) -> bytes:
        found = self._content_types.get(cls)
        if found is None:
            found = self._content_types[cls] = self._serializer.content_type(cls)
        return found


def _require_event(returned: Any, handler: str) -> None:
    try:
        event_type(returned)
    except EventDefinitionError as error:
        raise EventDefinitionError(
            f"what handler {handler} returned cannot be published (an event, a list of events or None can): {error}"
        ) from None
