"""Sends dead letters, and does not let go of a record until its dead letter is acknowledged."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

from ottla.errors import PublishError
from ottla.kafka.producer import Producer, lacks_partition
from ottla.kafka.record import Headers, Message
from ottla.listeners.context import Context
from ottla.listeners.deadletter import dead_letter_headers, dead_letter_topic
from ottla.listeners.hooks import Conditions, Observer
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.outputs import Outgoing
from ottla.listeners.steps import Sleep, Way
from ottla.listeners.transaction import OpenTransaction, commit_waits

WAITS_S = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Between attempts to write a dead letter that is refused; the last one repeats."""


class DeadLetters:
    """Writes dead letters. Its methods are called from several threads.

    Failure: a dead-letter topic that refuses the record (not one that is merely away: the producer waits for that) is
    tried again for ever, with growing waits; the service is not ready meanwhile and says why, and the record stays
    uncommitted, so that its partition pauses when its buffer is full. Nothing is lost, and nothing grows without bound.
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
    ) -> None:
        self._service = service
        self._group = group
        self._producer = producer
        self._observer = observer
        self._conditions = conditions
        self._loop = loop
        self._log = logging.getLogger(f"ottla.{service}")
        self._timers: set[asyncio.TimerHandle] = set()
        # Condition to the offsets whose dead letters were refused: one that is taken must not hide one that is not.
        self._refused: dict[str, set[int]] = {}
        self._lock = threading.Lock()

    def bury(
        self,
        message: Message,
        tracker: OffsetTracker,
        error: BaseException,
        handler: str,
        attempts: int,
        failures: int = 0,
        anywhere: bool = False,
    ) -> None:
        """Sends the dead letter; the record is finished when it is acknowledged, and not before.

        Args:
            message: The record.
            tracker: Told when the record is finished.
            error: Why.
            handler: Which handler gave up.
            attempts: How often it tried.
            failures: How often this dead letter has been refused so far.
            anywhere: Whether the dead-letter topic is known to lack the partition of the record's number.
        """
        topic = dead_letter_topic(message.topic())
        condition = f"dead letters of {message.topic()}[{message.partition()}]"

        def delivered(refusal: Any, _copy: Any) -> None:
            if refusal is not None:
                refused(refusal)
                return
            if condition in self._refused:
                self._taken(condition, message.offset())
            self._observer.dead_lettered(message.topic(), handler)
            tracker.finished(message.offset())

        def refused(refusal: Any) -> None:
            if not anywhere and failures == 0 and lacks_partition(refusal):
                self.bury(message, tracker, error, handler, attempts, anywhere=True)
                return
            wait = WAITS_S[min(failures, len(WAITS_S) - 1)]
            reason = (
                f"{topic} does not take the dead letter of {message.topic()}[{message.partition()}]"
                f"@{message.offset()}: {refusal}; again in {wait:g} s, the record stays uncommitted until then"
            )
            self._log.critical("%s", reason)
            with self._lock:
                self._refused.setdefault(condition, set()).add(message.offset())
                self._conditions.raise_condition(condition, reason)
            self._loop.call_soon_threadsafe(later, wait)

        def later(wait: float) -> None:
            timer: asyncio.TimerHandle = self._loop.call_later(wait, lambda: again(timer))
            self._timers.add(timer)

        def again(timer: asyncio.TimerHandle) -> None:
            self._timers.discard(timer)
            self.bury(message, tracker, error, handler, attempts, failures + 1)

        headers = self._headers(message, error, handler, attempts)
        try:
            sent = self._producer.try_send(
                topic,
                message.value(),
                key=message.key(),
                headers=headers,
                # The same partition where it exists; a dead-letter topic with fewer partitions takes it anywhere.
                partition=-1 if anywhere or failures else message.partition(),
                on_delivery=delivered,
            )
        except PublishError as refusal:
            refused(refusal)
            return
        if not sent:
            refused("the producer's buffer is full")

    def bury_in(
        self,
        transaction: OpenTransaction,
        message: Message,
        tracker: OffsetTracker,
        error: BaseException,
        handler: str,
        attempts: int,
    ) -> Way:
        """Writes the dead letter in the transaction that finishes the record. One that is refused is written again for
        ever, with growing waits, visibly: the record stays uncommitted."""
        topic, condition = (
            dead_letter_topic(message.topic()),
            f"dead letters of {message.topic()}[{message.partition()}]",
        )
        letter = Outgoing(topic, message.key(), message.value(), self._headers(message, error, handler, attempts))
        partition, failures, waits = message.partition(), 0, commit_waits()

        def told() -> None:
            self._observer.dead_lettered(message.topic(), handler)

        while True:
            try:
                if transaction.try_write(message, tracker, [letter], partition=partition, told=told):
                    return
                yield Sleep(next(waits))
            except PublishError as refusal:
                if partition >= 0:
                    partition = -1  # The dead-letter topic may have fewer partitions.
                    continue
                wait = WAITS_S[min(failures, len(WAITS_S) - 1)]
                failures += 1
                place = f"{message.topic()}[{message.partition()}]@{message.offset()}"
                reason = f"{topic} does not take the dead letter of {place}: {refusal}; again in {wait:g} s"
                self._log.critical("%s", reason)
                self._conditions.raise_condition(condition, reason)
                try:
                    yield Sleep(wait)
                finally:
                    self._conditions.clear_condition(condition)

    def _headers(self, message: Message, error: BaseException, handler: str, attempts: int) -> Headers:
        return dead_letter_headers(
            message,
            error,
            group=self._group,
            service=self._service,
            handler=handler,
            attempts=attempts,
            event_id=Context(message, self._service).event_id,
        )

    def _taken(self, condition: str, offset: int) -> None:
        with self._lock:
            waiting = self._refused.get(condition, set())
            waiting.discard(offset)
            if not waiting:
                self._refused.pop(condition, None)
                self._conditions.clear_condition(condition)

    def close(self) -> None:
        """Gives up the dead letters that wait to be sent again; their records are uncommitted."""
        for timer in self._timers:
            timer.cancel()
