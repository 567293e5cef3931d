"""From the bytes of a record to the handler that wants it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ottla.errors import ConfigurationError, DecodeError, UnknownEventType
from ottla.events import EventType
from ottla.kafka.record import Message
from ottla.listeners.declaration import Listener
from ottla.serde.deserializer import Deserializer


class Dispatcher:
    """Finds the listener for a record and decodes its event. Thread-safe once built.

    Args:
        listeners: The handlers; one per event type.
        known: Event types the service knows of besides: records of these are passed over where no handler wants them.
        deserializer: Reads schemas and events.

    Raises:
        ConfigurationError: Two handlers want the same event type.
    """

    def __init__(self, listeners: Iterable[Listener], known: Iterable[EventType], deserializer: Deserializer) -> None:
        self._deserializer = deserializer
        self._routes: dict[tuple[str, str], tuple[Listener, type]] = {}
        for listener in listeners:
            for event in listener.events:
                other = self._routes.get((event.topic, event.name))
                if other is not None:
                    raise ConfigurationError(
                        f"handlers {other[0].name} and {listener.name} both listen to {event.name} on {event.topic}; "
                        f"call one from the other, or give them apps (and so consumer groups) of their own"
                    )
                self._routes[event.topic, event.name] = (listener, event.cls)
        self._known = {(event.topic, event.name) for event in known}
        self._seen: set[bytes] = set()
        self._quick: dict[tuple[str, bytes], tuple[Listener, type]] = {}

    def may_block(self, message: Message) -> bool:
        """Whether decoding may ask the registry: it does once per schema id."""
        value = message.value()
        return value is not None and value[:5] not in self._seen

    def quick(self, topic: str, value: bytes) -> tuple[Listener, type] | None:
        """The listener of a value's schema and its class, if values of this schema were routed before and are all of
        one type."""
        return self._quick.get((topic, value[:5]))

    def decode_leading(self, values: list[bytes | None], cls: type) -> list[Any]:
        """The events in those values, from the first on, that share its schema, for which `quick` gave the class.
        Raises as `Deserializer.decode_many`."""
        return self._deserializer.decode_leading(values, cls)

    def route(self, message: Message) -> tuple[Listener, Any] | None:
        """The listener and its event; None for a record to pass over (a known type nobody wants, or a tombstone).

        Raises:
            DecodeError: The bytes are not an event of ours; says where the record lies.
            UnknownEventType: They are an event that this service does not know.
            RegistryUnavailable: The schema is not known yet and the registry does not answer.
        """
        value = message.value()
        if value is None:
            return None
        topic = message.topic()
        try:
            if value[:5] not in self._seen:
                value = self._deserializer.framed(value, message.headers())
            name = self._deserializer.record_name(value)
            found = self._routes.get((topic, name))
            if found is not None:
                event: Any = self._deserializer.decode(value, found[1])
                self._seen.add(value[:5])
                if self._deserializer.tells_type(value):
                    self._quick[topic, value[:5]] = found
                return found[0], event
        except DecodeError as error:
            raise error.at(topic, message.partition(), message.offset()) from error.__cause__
        if (topic, name) in self._known:
            self._seen.add(value[:5])
            return None
        raise UnknownEventType(
            f"no handler of this service listens to {name}, and its App does not name it among events=[...]; "
            f"add it to one of them",
            topic=topic,
            partition=message.partition(),
            offset=message.offset(),
        )
