"""A record's way through the service: decode, call, retry, publish what is returned, or dead-letter.

Records of a partition go their ways one after the other, or, to a batch handler, several at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from itertools import repeat
from typing import Any

import msgspec

from ottla.errors import BatchFailed, HandlerError, NotNow, RegistryRejected, RegistryUnavailable
from ottla.kafka.record import Message
from ottla.listeners.acknowledgement import Acknowledgement, SyncCommits
from ottla.listeners.burial import DeadLetters
from ottla.listeners.context import Context
from ottla.listeners.deadletter import dead_letter_topic
from ottla.listeners.declaration import Listener
from ottla.listeners.dispatch import Dispatcher
from ottla.listeners.express import Express
from ottla.listeners.hooks import Companion, Conditions, Observer
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.outcome import Outcome
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

    @property
    def nacked(self) -> bool:
        """Whether its handler has asked for it again."""
        manual = self.context.acknowledgement
        return manual is not None and manual.delay_s is not None


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
        commits: SyncCommits | None = None,
        companion: Companion | None = None,
    ) -> None:
        self._companion = companion
        self._commits = commits
        self._transaction = transaction
        self._parking = parking
        self._service = service
        self._dispatcher = dispatcher
        self._publishing = publishing
        self._dead_letters = dead_letters
        self._observer = observer
        self._conditions = conditions
        self._log = logging.getLogger(f"ottla.{service}")
        self.express = Express(
            service=service,
            dispatcher=dispatcher,
            observer=observer,
            way_on=self._way_on,
            answer=publishing.answer,
            transaction=transaction,
            companion=companion,
        )

    def way(self, messages: list[Message], tracker: OffsetTracker) -> Way:
        """The steps of some records of one partition, in their order. When they end, each record is finished, or will
        be once what it led to is acknowledged; where they are given up, the records left stay unfinished and are
        delivered again to whoever gets the partition."""
        together = self._together(messages, tracker)
        if together is not None:
            yield from self._handle_all(together, tracker)
            return
        batch: list[Delivery] = []
        for index, message in enumerate(messages):
            if index and not batch:
                yield Sleep(0)  # Where a stop is noticed between records.
            delivery = yield from self._delivery(message, tracker)
            if delivery is None:
                continue
            if batch and (delivery.listener is not batch[0].listener or len(batch) == delivery.listener.batch):
                yield from self._handle_all(batch, tracker)
                batch = []
            if delivery.listener.batch > 1:
                batch.append(delivery)
            else:
                yield from self._handle_all([delivery], tracker)
        if batch:
            yield from self._handle_all(batch, tracker)

    def _together(self, messages: list[Message], tracker: OffsetTracker) -> list[Delivery] | None:
        """All of the records, decoded at once, where they are one batch for one handler and nothing is unusual."""
        alike = self.express.alike(messages, tracker) if len(messages) > 1 else None
        if alike is None or len(alike[1]) < len(messages):
            return None
        listener, events = alike
        if listener.batch < len(messages) or listener.filter is not None:
            return None
        return [
            Delivery(message, message, listener, event, Context(message, self._service))
            for message, event in zip(messages, events, strict=True)
        ]

    def _handle_all(self, batch: list[Delivery], tracker: OffsetTracker) -> Way:
        """Handles records that go to the same handler; where it wants that, they are committed before the next."""
        ack = batch[0].listener.ack
        if ack == "manual":
            for one in batch:
                one.context.acknowledgement = Acknowledgement(tracker, one.message.offset())
        yield from self._handle_batch(batch, tracker)
        if self._commits is not None and ack in ("record", "batch"):
            yield from self._commits.committed([one.message for one in batch], tracker)

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
            self._passed(message, source, tracker)
            return None
        if routed is None or source is None:
            self._observer.skipped(message.topic())
            tracker.finished(message.offset())
            self._passed(message, source, tracker)
            return None
        one = Delivery(message, source, *routed, Context(source, self._service))
        if isinstance(source, Original):
            one.context.attempt = source.ticket.attempts + 1
        if one.listener.filter is not None and not (yield from self._passes(one, tracker)):
            return None
        return one if (yield from self._admitted(one, tracker)) else None

    def _passes(self, one: Delivery, tracker: OffsetTracker) -> Generator[Call | Sleep, Any, bool]:
        """Whether the handler's filter lets a record through; if not, it is done with."""
        listener = one.listener
        assert listener.filter is not None, "asked where there is one"
        try:
            if listener.filter(one.event, one.context):
                return True
        except Exception as error:
            self._log.error("the filter of %s failed on %s: %s", listener.name, _place(one.context), error)
            yield from self._bury(one.message, tracker, error, listener.name, 0)
        else:
            self._observer.skipped(one.source.topic())
            tracker.finished(one.message.offset())
        self._settled(one, tracker)
        return False

    def _passed(self, message: Message, source: Message | None, tracker: OffsetTracker) -> None:
        """A record has not come as far as a handler: nothing is to wait behind it in a retry topic."""
        if source is not None and self._parking is not None:
            self._parking.settled(message, source, tracker)

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

    def _way_on(
        self,
        message: Message,
        listener: Listener,
        event: Any,
        context: Context,
        outcome: Outcome,
        started: float,
        tracker: OffsetTracker,
    ) -> Way:
        """The rest of the way of a record whose handler was called on the express."""
        return self._handle(Delivery(message, message, listener, event, context), tracker, outcome, started)

    def _handle(
        self, one: Delivery, tracker: OffsetTracker, outcome: Outcome | None = None, started: float | None = None
    ) -> Way:
        """Calls the handler until it succeeds or there are no more attempts, and publishes what it returned.

        Args:
            one: The record.
            tracker: Its partition's.
            outcome: How the first call ended, where there has been one.
            started: When that began; None is now.
        """
        if self._companion is None:
            yield from self._handle_alone(one, tracker, outcome, started)
        else:
            with self._companion.handling([one]):
                yield from self._handle_alone(one, tracker, outcome, started)

    def _handle_alone(
        self, one: Delivery, tracker: OffsetTracker, outcome: Outcome | None, started: float | None
    ) -> Way:
        name, topic = one.listener.name, one.source.topic()
        started = time.perf_counter() if started is None else started
        try:
            prepared = yield from self._attempts(one, outcome)
        except Exception as error:
            yield from self._give_up(one, tracker, error)
            return
        yield from self._publish(one, tracker, prepared)
        self._observer.handled(topic, name, time.perf_counter() - started)

    def _publish(self, one: Delivery, tracker: OffsetTracker, prepared: list[Outgoing]) -> Way:
        """Publishes what a handler returned. What is refused for good would be refused at another attempt as well."""
        finishes: Any = one.context.acknowledgement or tracker
        try:
            yield from self._publishing.publish(one.message, finishes, prepared, one.listener.name)
        except Exception as error:
            yield from self._bury(one.message, tracker, error, one.listener.name, one.context.attempt)
        self._settled(one, tracker)

    def _settled(self, one: Delivery, tracker: OffsetTracker) -> None:
        if tracker.parked is not None and self._parking is not None:
            self._parking.settled(one.message, one.source, tracker)

    def _give_up(self, one: Delivery, tracker: OffsetTracker, error: Exception) -> Way:
        """To the next retry topic, or, where there is none for it, to the dead letters."""
        listener, attempts = one.listener, one.context.attempt
        if one.context.acknowledgement is not None:
            one.context.acknowledgement.leave()
        if self._parking is not None:
            parked = self._parking.park(
                one.message, one.source, tracker, error, listener.retry, listener.name, attempts
            )
            if (yield from parked):
                return
        yield from self._bury(one.message, tracker, error, listener.name, attempts)
        self._settled(one, tracker)

    def _attempts(self, one: Delivery, outcome: Outcome | None = None) -> Generator[Call | Sleep, Any, list[Outgoing]]:
        listener, context = one.listener, one.context
        while True:
            try:
                if outcome is not None:
                    first, outcome = outcome, None
                    result = first.take()
                elif listener.batch > 1:
                    answers = yield from self._called(one, ([one.event], [context]))
                    result = None if one.nacked else _answer_each(answers, 1, listener)[0]
                else:
                    result = yield from self._called(one, (one.event, context))
                if not one.nacked:
                    return (yield from self._publishing.prepare(result, context, listener.name))
                yield from self._put_back(one)
            except BatchFailed as error:
                yield from self._failed(error.error, one)
            except Exception as error:
                yield from self._failed(error, one)

    def _called(self, one: Delivery, arguments: tuple[Any, ...]) -> Generator[Call | Sleep, Any, Any]:
        manual = one.context.acknowledgement
        if manual is None:
            return (yield Call(one.listener.call, arguments, is_async=one.listener.is_async))
        manual.running = True
        try:
            return (yield Call(one.listener.call, arguments, is_async=one.listener.is_async))
        finally:
            manual.running = False

    def _put_back(self, one: Delivery) -> Way:
        """Waits as long as the handler has asked for, before it is called again."""
        manual = one.context.acknowledgement
        assert manual is not None, "only such a handler can ask"
        delay_s, manual.delay_s = manual.delay_s or 0.0, None
        yield Sleep(delay_s)
        one.context.attempt += 1
        self._observer.retried(one.source.topic(), one.listener.name)

    def _handle_batch(self, batch: list[Delivery], tracker: OffsetTracker) -> Way:
        """Hands the records over together. If that fails at a record that the handler names, those before it are done,
        and those behind it are handed over after it; if it does not say where, each goes its way alone. Either way the
        one at fault is retried and dead-lettered alone, and the others are handled."""
        if len(batch) == 1:
            yield from self._handle(batch[0], tracker)
        elif self._companion is None:
            yield from self._handle_together(batch, tracker)
        else:
            with self._companion.handling(batch):
                yield from self._handle_together(batch, tracker)

    def _handle_together(self, batch: list[Delivery], tracker: OffsetTracker) -> Way:
        listener, topic = batch[0].listener, batch[0].source.topic()
        started = time.perf_counter()
        try:
            prepared = yield from self._called_together(batch)
        except Exception as error:
            self._observer.failed(topic, listener.name)
            if self._companion is not None:
                self._companion.failed(error)
            if isinstance(error, BatchFailed) and 0 <= error.index < len(batch):
                yield from self._go_on_from(error, batch, tracker)
            else:
                yield from self._one_by_one(error, batch, tracker)
            return
        seconds_each = (time.perf_counter() - started) / len(batch)
        if prepared is None and self._transaction is None and listener.ack != "manual" and not tracker.parked:
            for one in batch:
                tracker.finished(one.message.offset())
            self._observer.handled_many(topic, listener.name, [seconds_each] * len(batch))
            return
        for one, outgoing in zip(batch, prepared or repeat([]), strict=prepared is not None):
            yield from self._finish(one, outgoing, tracker, seconds_each)

    def _called_together(self, batch: list[Delivery]) -> Generator[Call | Sleep, Any, list[list[Outgoing]] | None]:
        """What the handler wants to be published for each, None if nothing at all; raises with nothing published."""
        listener, contexts = batch[0].listener, [one.context for one in batch]
        manual = [context.acknowledgement for context in contexts if context.acknowledgement is not None]
        for acknowledgement in manual:
            acknowledgement.running = True
        try:
            answers = yield from _when_it_may(listener, ([one.event for one in batch], contexts))
        finally:
            for acknowledgement in manual:
                acknowledgement.running = False
        if answers is None:
            return None
        prepared = []
        for one, answer in zip(batch, _answer_each(answers, len(batch), listener), strict=True):
            prepared.append((yield from self._publishing.prepare(answer, one.context, listener.name)))
        return prepared

    def _finish(self, one: Delivery, prepared: list[Outgoing], tracker: OffsetTracker, seconds: float) -> Way:
        """The last part of a record that was handled together with others."""
        if one.nacked:
            yield from self._put_back(one)
            yield from self._handle(one, tracker)
            return
        yield from self._publish(one, tracker, prepared)
        self._observer.handled(one.source.topic(), one.listener.name, seconds)

    def _go_on_from(self, failure: BatchFailed, batch: list[Delivery], tracker: OffsetTracker) -> Way:
        before, culprit, rest = batch[: failure.index], batch[failure.index], batch[failure.index + 1 :]
        answers = [*failure.answers, *[None] * len(before)]
        for one, answer in zip(before, answers, strict=False):
            try:
                prepared = yield from self._publishing.prepare(answer, one.context, one.listener.name)
            except Exception as error:
                yield from self._give_up(one, tracker, error)
                continue
            yield from self._finish(one, prepared, tracker, 0.0)
        yield from self._handle(culprit, tracker, Outcome(error=failure.error))
        yield Sleep(0)  # Where a stop is noticed between records.
        left = []
        for one in rest:
            if (yield from self._admitted(one, tracker)):  # One before it may have been moved meanwhile.
                left.append(one)
        if left:
            yield from self._handle_batch(left, tracker)

    def _one_by_one(self, error: Exception, batch: list[Delivery], tracker: OffsetTracker) -> Way:
        self._log.warning(
            "%s failed on a batch of %d records (%s, up to offset %d), handling them one at a time: %s: %s",
            batch[0].listener.name,
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

    def _failed(self, error: Exception, one: Delivery) -> Way:
        """Waits for the next attempt, or raises `error` again if there is none."""
        if isinstance(error, NotNow):
            yield Sleep(error.wait_s)
            return
        context, retry, handler = one.context, one.listener.retry, one.listener.name
        self._observer.failed(context.topic, handler)
        if self._companion is not None:
            self._companion.failed(error)
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
        if self._companion is not None:
            self._companion.given_up(error)
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
