"""What runs within an app beside its listeners, and what it is given to run with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

from ottla.kafka.producer import Producer
from ottla.kafka.topics import ServiceTopics
from ottla.listeners.hooks import Conditions, Observer
from ottla.listeners.outputs import Outputs
from ottla.serde.deserializer import Deserializer
from ottla.settings import Settings


@dataclass(frozen=True)
class Surroundings:
    """An app that is running, as its parts see it."""

    service: str
    settings: Settings
    producer: Producer
    outputs: Outputs
    deserializer: Deserializer
    topics: ServiceTopics
    observer: Observer
    conditions: Conditions
    log: logging.Logger


class Part(Protocol):
    """Started on the event loop once the broker and the registry are there, before the first record; stopped after the
    last. An app may run again: so may its parts."""

    async def start(self, app: Surroundings) -> None:
        """Begins. What it waits for later, it says by a condition."""

    async def stop(self) -> None:
        """Ends, within seconds, whether or not it was started."""
