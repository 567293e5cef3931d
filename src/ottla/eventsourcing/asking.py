"""How commands are sent and answers come back, where no App does it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ottla.events import new_event_id
from ottla.kafka.producer import Producer
from ottla.kafka.record import Headers
from ottla.kafka.topics import ServiceTopics
from ottla.kafka.transactions import TransactionalProducer
from ottla.listeners.outputs import Outputs
from ottla.listeners.publisher import Publisher
from ottla.observability.health import Health
from ottla.observability.metrics import Metrics
from ottla.patterns.part import Surroundings
from ottla.patterns.requests import Requests
from ottla.settings import Settings
from ottla.streams.serdes import Codecs

FLUSH_S = 5.0


class Asking:
    """A producer of commands and a reader of answers, made when the first command is told. Belongs to the event loop.

    Args:
        name: The application's; answers come over `<name>-replies`.
        settings, codecs: The application's.
        metrics, health, log: Where what happens is told.
    """

    def __init__(
        self, name: str, settings: Settings, codecs: Codecs, metrics: Metrics, health: Health, log: logging.Logger
    ) -> None:
        self._name = name
        self._settings = settings
        self._codecs = codecs
        self._metrics, self._health, self._log = metrics, health, log
        self._opened: asyncio.Task[Requests] | None = None
        self._producer: Producer | None = None

    async def ask(self, command: Any, timeout_s: float, headers: Headers, envelope: dict[str, Any]) -> bytes:
        """The answer's bytes. Raises as `App.request`."""
        if self._opened is None or (self._opened.done() and self._opened.exception() is not None):
            self._opened = asyncio.create_task(self._open())
        requests = await asyncio.shield(self._opened)
        answer: bytes = await requests.ask(command, bytes, timeout_s, headers, envelope)
        return answer

    async def stop(self) -> None:
        """Ends. Who still waits is told."""
        if self._opened is not None:
            (requests,) = await asyncio.gather(self._opened, return_exceptions=True)
            if isinstance(requests, Requests):
                await requests.stop()
        if self._producer is not None:
            await asyncio.to_thread(self._producer.close, FLUSH_S)

    async def _open(self) -> Requests:
        kafka = self._settings.kafka
        producer = self._producer = await asyncio.to_thread(Producer, kafka, client_id=f"{self._name}-commands")
        topics = ServiceTopics(kafka, self._log)
        outputs = Outputs(self._codecs.serializer, topics, self._name)
        publisher = Publisher(
            outputs=outputs,
            producer=producer,
            observer=self._metrics,
            open_transactional=lambda: TransactionalProducer(kafka, f"{self._name}-commands-{new_event_id()}"),
            log=self._log,
            timeout_s=kafka.publish_timeout_s,
        )
        requests = Requests(self._name, publisher.publish)
        await requests.start(
            Surroundings(
                service=self._name,
                settings=self._settings,
                producer=producer,
                outputs=outputs,
                deserializer=self._codecs.deserializer,
                topics=topics,
                observer=self._metrics,
                conditions=self._health,
                log=self._log,
            )
        )
        return requests
