"""Writes dead letters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from ottla.errors import PublishError
from ottla.kafka.producer import Producer
from ottla.kafka.record import Message
from ottla.listeners.context import Context
from ottla.listeners.copies import Copies, Copy
from ottla.listeners.deadletter import dead_letter_headers, dead_letter_topic
from ottla.listeners.hooks import Conditions, Observer
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.outputs import Outgoing
from ottla.listeners.replies import reply_address
from ottla.listeners.steps import Way
from ottla.listeners.ticket import original
from ottla.listeners.transaction import OpenTransaction


class DeadLetters:
    """Writes dead letters, as `Copies` says. Its methods are called from several threads.

    Args:
        homes: Retry topics, with the topics they belong to: what nobody can place there has its grave with those.
    """

    def __init__(
        self,
        *,
        service: str,
        group: str,
        producer: Producer,
        observer: Observer,
        conditions: Conditions,
        loop: asyncio.AbstractEventLoop,
        homes: Mapping[str, tuple[str, int]] | None = None,
    ) -> None:
        self._service = service
        self._homes = homes or {}
        self._group = group
        self._observer = observer
        self._producer = producer
        self._log = logging.getLogger(f"ottla.{service}")
        self.copies = Copies(producer=producer, conditions=conditions, loop=loop, log=self._log)

    def bury(
        self,
        message: Message,
        tracker: OffsetTracker,
        error: BaseException,
        handler: str,
        attempts: int,
        failures: int = 0,
    ) -> None:
        """Sends the dead letter; the record is finished when it is acknowledged, and not before.

        Args:
            message: The record, or its copy in a retry topic.
            tracker: Told when the record is finished.
            error: Why.
            handler: Which handler gave up.
            attempts: How often it tried.
            failures: How often this dead letter has been refused so far.
        """
        self.copies.send(self._letter(message, error, handler, attempts), message, tracker, failures=failures)

    def bury_in(
        self,
        transaction: OpenTransaction,
        message: Message,
        tracker: OffsetTracker,
        error: BaseException,
        handler: str,
        attempts: int,
    ) -> Way:
        """Writes the dead letter in the transaction that finishes the record."""
        yield from self.copies.write(transaction, self._letter(message, error, handler, attempts), message, tracker)

    def _letter(self, message: Message, error: BaseException, handler: str, attempts: int) -> Copy:
        source = original(message)
        headers = dead_letter_headers(
            source,
            error,
            group=self._group,
            service=self._service,
            handler=handler,
            attempts=attempts,
            event_id=Context(source, self._service).event_id,
        )
        return Copy(
            topic=dead_letter_topic(self._homes.get(source.topic(), (source.topic(), 0))[0]),
            headers=headers,
            # The same partition where it exists; a dead-letter topic with fewer partitions takes it anywhere.
            partition=source.partition(),
            anywhere=True,
            what="the dead letter",
            condition=f"dead letters of {message.topic()}[{message.partition()}]",
            told=lambda: self._buried(source, handler, error),
        )

    def _buried(self, source: Message, handler: str, error: BaseException) -> None:
        self._observer.dead_lettered(source.topic(), handler)
        asked = reply_address(source.headers())
        if asked is not None:
            self._tell(asked.failure(source.key(), error))

    def _tell(self, failure: Outgoing) -> None:
        """Tells whoever asked that there will be no answer. If that fails they find out when their time is up."""
        try:
            self._producer.try_send(
                failure.topic, failure.value, key=failure.key, headers=failure.headers, partition=failure.partition
            )
        except PublishError as error:
            self._log.warning("a failed request is not answered: %s", error)

    def close(self) -> None:
        """Gives up the dead letters that wait to be sent again; their records are uncommitted."""
        self.copies.close()
