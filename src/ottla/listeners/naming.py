"""Topics as they are called in the cluster: with the prefix that the settings give."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ottla.events import EventType
from ottla.listeners.declaration import Listener
from ottla.settings import KafkaSettings


def named_events(events: Iterable[EventType], kafka: KafkaSettings) -> list[EventType]:
    """The event types, of topics with `kafka.prefix`. A topic that has it already stays as it is."""
    return [dataclasses.replace(event, topic=kafka.named(event.topic)) for event in events]


def named_listeners(listeners: Iterable[Listener], kafka: KafkaSettings) -> list[Listener]:
    """The listeners, to topics with `kafka.prefix`."""
    return [dataclasses.replace(one, events=tuple(named_events(one.events, kafka))) for one in listeners]
