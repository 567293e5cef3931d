"""A record's way through the service: decode, call, retry, publish what is returned, or dead-letter.

Records of a partition go their ways one after the other, or, to a batch handler, several at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from typing import Any

import msgspec

from ottla.errors import HandlerError, NotNow, RegistryRejected, RegistryUnavailable
from ottla.kafka.record import Message
from ottla.listeners.burial import DeadLetters
from ottla.listeners.context import Context
from ottla.listeners.deadletter import dead_letter_topic
from ottla.listeners.declaration import Listener
from ottla.listeners.dispatch import Dispatcher
from ottla.listeners.hooks import Conditions, Observer
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.outputs import Outgoing
from ottla.listeners.parking import Parking
from ottla.listeners.publishing import Publishing
from ottla.listeners.steps import Call, Sleep, Way, wait_out
from ottla.listeners.ticket import Original, retry_topic
from ottla.listeners.transaction import OpenTransaction

NO_VERDICT = frozenset({401, 403, 407, 408, 429})
"""HTTP statuses with which a registry says nothing about the schema it was asked for."""

UNDECODED = "(undecoded)"
"""Stands for the handler in metrics and dead letters of records that never reached one."""


class Delivery(msgspec.Struct):
    """A record that has been decoded, on its way to its handler.

    Attributes:
        message: What was taken from Kafka: the record, or its copy in a retry topic.
        source: The record.
    """

    message: Any  # a Message; msgspec cannot check protocols
    source: Any
    listener: Listener
    event: Any
    context: Context


class RecordProcessor:
    """What all partitions of one app share on a record's way. Its methods are called from several threads."""

    def __init__(
        self,
        *,
        service: str,
        dispatcher: Dispatcher,
        publishing: Publishing,
        dead_letters: DeadLetters,
        observer: Observer,
        conditions: Conditions,
        transaction: OpenTransaction | None = None,
        parking: Parking | None = None,
    ) -> None:
        self._transaction = transaction
        self._parking = parking
        self._service = service
        self._dispatcher = dispatcher
        self._publishing = publishing
        self._dead_letters = dead_letters
        self._observer = observer
        self._conditions = conditions
        self._log = logging.getLogger(f"ottla.{service}")

    def way(self, messages: list[Message], tracker: OffsetTracker) -> Way:
        """The steps of some records of one partition, in their order. When they end, each record is finished, or will
        be once what it led to is acknowledged; where they are given up, the records left stay unfinished and are
        delivered again to whoever gets the partition."""
        batch: list[Delivery] = []
        for index, message in enumerate(messages):
            if index and not batch:
                yield Sleep(0)  # Where a stop is noticed between records.
            delivery = yield from self._delivery(message, tracker)
            if delivery is None:
                continue
            if batch and (delivery.listener is not batch[0].listener or len(batch) == delivery.listener.batch):
                yield from self._handle_batch(batch, tracker)
                batch = []
            if delivery.listener.batch > 1:
                batch.append(delivery)
            else:
                yield from self._handle(delivery, tracker)
        if batch:
            yield from self._handle_batch(batch, tracker)

    def _delivery(self, message: Message, tracker: OffsetTracker) -> Generator[Call | Sleep, Any, Delivery | None]:
        """The record decoded; None if there is nothing more to do for it."""
        source: Message | None = message
        try:
            if self._parking is not None:
                source = self._parking.source(message)
            routed = (yield from self._routed(message, source)) if source is not None else None
        except Exception as error:
            self._log.error("%s", error)
            yield from self._bury(message, tracker, error, UNDECODED, 0)
            return None
        if routed is None or source is None:
            self._observer.skipped(message.topic())
            tracker.finished(message.offset())
            return None
        one = Delivery(message, source, *routed, Context(source, self._service))
        if isinstance(source, Original):
            one.context.attempt = source.ticket.attempts + 1
        return one if (yield from self._admitted(one, tracker)) else None

    def _admitted(self, one: Delivery, tracker: OffsetTracker) -> Generator[Call | Sleep, Any, bool]:
        """Whether no record of its key that lies in a retry topic comes first."""
        if tracker.parked is None or self._parking is None:
            return True
        return (yield from self._parking.admit(one.message, one.source, tracker, one.listener.name))

    def _routed(self, message: Message, source: Message) -> Generator[Call | Sleep, Any, tuple[Listener, Any] | None]:
        if not self._dispatcher.may_block(source):
            return self._dispatcher.route(source)
        # One condition per partition: the success of another must not clear it.
        condition = f"registry for {message.topic()}[{message.partition()}]"
        try:
            while True:
                try:
                    answer: tuple[Listener, Any] | None = yield Call(self._dispatcher.route, (source,))
                    return answer
                except (RegistryUnavailable, RegistryRejected) as error:
                    if isinstance(error, RegistryRejected) and error.status not in NO_VERDICT:
                        raise
                    # Not the record's fault: it waits, and so does its partition.
                    yield from wait_out(self._conditions, condition, error)
        finally:  # Also where the record is given up while it waits: the condition is not ours any more.
            self._conditions.clear_condition(condition)

    def _handle(self, one: Delivery, tracker: OffsetTracker) -> Way:
        name, topic = one.listener.name, one.source.topic()
        started = time.perf_counter()
        try:
            prepared = yield from self._attempts(one)
            yield from self._publishing.publish(one.message, tracker, prepared, name)
        except Exception as error:
            yield from self._give_up(one, tracker, error)
            return
        self._settled(one, tracker)
        self._observer.handled(topic, name, time.perf_counter() - started)

    def _settled(self, one: Delivery, tracker: OffsetTracker) -> None:
        if tracker.parked is not None and self._parking is not None:
            self._parking.settled(one.message, one.source, tracker)

    def _give_up(self, one: Delivery, tracker: OffsetTracker, error: Exception) -> Way:
        """To the next retry topic, or, where there is none for it, to the dead letters."""
        listener, attempts = one.listener, one.context.attempt
        if self._parking is not None:
            parked = self._parking.park(
                one.message, one.source, tracker, error, listener.retry, listener.name, attempts
            )
            if (yield from parked):
                return
        yield from self._bury(one.message, tracker, error, listener.name, attempts)
        self._settled(one, tracker)

    def _attempts(self, one: Delivery) -> Generator[Call | Sleep, Any, list[Outgoing]]:
        listener, context = one.listener, one.context
        while True:
            try:
                if listener.batch > 1:
                    answers = yield Call(listener.call, ([one.event], [context]), is_async=listener.is_async)
                    result = _answer_each(answers, 1, listener)[0]
                else:
                    result = yield Call(listener.call, (one.event, context), is_async=listener.is_async)
                return (yield from self._publishing.prepare(result, context, listener.name))
            except Exception as error:
                yield from self._failed(error, one)

    def _handle_batch(self, batch: list[Delivery], tracker: OffsetTracker) -> Way:
        """Hands the records over together. If that fails, each goes its way alone, so that the one at fault is retried
        and dead-lettered alone, and the others are handled."""
        if len(batch) == 1:
            yield from self._handle(batch[0], tracker)
            return
        listener, topic = batch[0].listener, batch[0].source.topic()
        started = time.perf_counter()
        try:
            arguments = ([one.event for one in batch], [one.context for one in batch])
            answers = yield from _when_it_may(listener, arguments)
            prepared = []
            for one, answer in zip(batch, _answer_each(answers, len(batch), listener), strict=True):
                prepared.append((yield from self._publishing.prepare(answer, one.context, listener.name)))
        except Exception as error:
            self._observer.failed(topic, listener.name)
            self._log.warning(
                "%s failed on a batch of %d records (%s, up to offset %d), handling them one at a time: %s: %s",
                listener.name,
                len(batch),
                _place(batch[0].context),
                batch[-1].context.offset,
                type(error).__name__,
                error,
            )
            for one in batch:
                yield Sleep(0)  # Where a stop is noticed between records.
                if (yield from self._admitted(one, tracker)):  # One before it may have been moved meanwhile.
                    yield from self._handle(one, tracker)
            return
        seconds_each = (time.perf_counter() - started) / len(batch)
        for one, outgoing in zip(batch, prepared, strict=True):
            try:
                yield from self._publishing.publish(one.message, tracker, outgoing, listener.name)
            except Exception as error:
                yield from self._give_up(one, tracker, error)
            else:
                self._settled(one, tracker)
                self._observer.handled(topic, listener.name, seconds_each)

    def _failed(self, error: Exception, one: Delivery) -> Way:
        """Waits for the next attempt, or raises `error` again if there is none."""
        if isinstance(error, NotNow):
            yield Sleep(error.wait_s)
            return
        context, retry, handler = one.context, one.listener.retry, one.listener.name
        self._observer.failed(context.topic, handler)
        wait = retry.again_in(error, context.attempt)
        attempt = (
            f"{handler} failed on event {context.event_id} ({_place(context)}), "
            f"attempt {context.attempt} of {retry.attempts_in_all}"
        )
        if wait is None:
            parks = one.source.ticket.parks if isinstance(one.source, Original) else 0
            later = retry.later_in(error, parks)
            if later is None:
                where = dead_letter_topic(context.topic)
            else:
                where = f"{retry_topic(context.topic, parks + 1)} for {later:g} s"
            self._log.error("%s, it goes to %s: %s: %s", attempt, where, type(error).__name__, error, exc_info=error)
            raise error
        self._log.warning("%s, again in %.2f s: %s: %s", attempt, wait, type(error).__name__, error)
        yield Sleep(wait)
        context.attempt += 1
        self._observer.retried(context.topic, handler)

    def _bury(self, message: Message, tracker: OffsetTracker, error: Exception, handler: str, attempts: int) -> Way:
        if self._transaction is None:
            self._dead_letters.bury(message, tracker, error, handler, attempts)
        else:
            yield from self._dead_letters.bury_in(self._transaction, message, tracker, error, handler, attempts)

    def close(self) -> None:
        """Gives up what still waits to be sent again."""
        self._dead_letters.close()


def _when_it_may(listener: Listener, arguments: tuple[Any, ...]) -> Generator[Call | Sleep, Any, Any]:
    while True:
        try:
            return (yield Call(listener.call, arguments, is_async=listener.is_async))
        except NotNow as error:
            yield Sleep(error.wait_s)


def _answer_each(answers: Any, records: int, listener: Listener) -> list[Any]:
    """What a batch handler returned, one answer per record.

    Raises:
        HandlerError: It did not answer for each.
    """
    if answers is None:
        return [None] * records
    if not isinstance(answers, list | tuple) or len(answers) != records:
        given = len(answers) if isinstance(answers, list | tuple) else type(answers).__name__
        raise HandlerError(
            f"batch handler {listener.name} was given {records} events and returned {given}: it must return None, or a "
            f"list with one entry per event (what to publish for it: an event, a list of events, or None)"
        )
    return list(answers)


def _place(context: Context) -> str:
    return f"{context.topic}[{context.partition}]@{context.offset}"
