"""One record's way through the service: decode, call, retry, publish what is returned, or dead-letter."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Generator
from typing import Any

from ottla.errors import BrokerUnavailable, DecodeError, PublishError, RegistryUnavailable
from ottla.kafka.producer import Producer
from ottla.kafka.record import Message
from ottla.listeners.context import Context
from ottla.listeners.deadletter import dead_letter_headers, dead_letter_topic
from ottla.listeners.declaration import Listener
from ottla.listeners.dispatch import Dispatcher
from ottla.listeners.hooks import Conditions, Observer
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.outputs import Outgoing, Outputs
from ottla.listeners.retry import Retry
from ottla.listeners.steps import Call, Sleep, Way

UNDECODED = "(undecoded)"
"""Stands for the handler in metrics and dead letters of records that never reached one."""

OUTAGE_WAIT_S = 1.0
FULL_BUFFER_WAIT_S = 0.005
DEAD_LETTER_WAITS_S = (1.0, 2.0, 5.0, 10.0, 30.0)


class RecordProcessor:
    """What all partitions of one app share on a record's way. Its methods are called from several threads."""

    def __init__(
        self,
        *,
        service: str,
        group: str,
        dispatcher: Dispatcher,
        outputs: Outputs,
        producer: Producer,
        observer: Observer,
        conditions: Conditions,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._service = service
        self._group = group
        self._dispatcher = dispatcher
        self._outputs = outputs
        self._producer = producer
        self._observer = observer
        self._conditions = conditions
        self._loop = loop
        self._log = logging.getLogger(f"ottla.{service}")
        self._timers: set[asyncio.TimerHandle] = set()

    def way(self, message: Message, tracker: OffsetTracker) -> Way:
        """The steps of one record. When they end, the record is finished, or will be once what it led to is
        acknowledged; if they are given up, it stays unfinished and is delivered again to whoever gets the partition."""
        try:
            routed = yield from self._routed(message)
        except Exception as error:
            self._log.error("%s", error)
            self.bury(message, tracker, error, UNDECODED, 0)
            return
        if routed is None:
            self._observer.skipped(message.topic())
            tracker.finished(message.offset())
            return
        listener, event = routed
        context = Context(message, self._service)
        started = time.perf_counter()
        try:
            prepared = yield from self._attempts(listener, event, context)
            yield from self._publish(message, tracker, prepared, listener)
        except Exception as error:
            self.bury(message, tracker, error, listener.name, context.attempt)
            return
        self._observer.handled(message.topic(), listener.name, time.perf_counter() - started)

    def _routed(self, message: Message) -> Generator[Call | Sleep, Any, tuple[Listener, Any] | None]:
        while True:
            try:
                if self._dispatcher.may_block(message):
                    answer: tuple[Listener, Any] | None = yield Call(self._dispatcher.route, (message,))
                else:
                    answer = self._dispatcher.route(message)
                self._conditions.clear_condition("registry")
                return answer
            except RegistryUnavailable as error:
                # Not the record's fault: it waits, and so does its partition.
                yield from self._wait_out("registry", error)

    def _attempts(
        self, listener: Listener, event: Any, context: Context
    ) -> Generator[Call | Sleep, Any, list[Outgoing]]:
        while True:
            try:
                result = yield Call(listener.call, (event, context), is_async=listener.is_async)
                return (yield from self._prepared(result, context, listener))
            except Exception as error:
                yield from self._failed(error, listener.retry, listener.name, context)

    def _failed(
        self, error: Exception, retry: Retry, handler: str, context: Context
    ) -> Generator[Call | Sleep, Any, None]:
        """Waits for the next attempt, or raises `error` again if there is none."""
        self._observer.failed(context.topic, handler)
        wait = retry.again_in(error, context.attempt)
        place = f"{context.topic}[{context.partition}]@{context.offset}"
        if wait is None:
            self._log.error(
                "%s gave up on event %s (%s) after %d of %d attempts, it goes to %s: %s: %s",
                handler,
                context.event_id,
                place,
                context.attempt,
                retry.attempts,
                dead_letter_topic(context.topic),
                type(error).__name__,
                error,
                exc_info=error,
            )
            raise error
        self._log.warning(
            "%s failed on event %s (%s), attempt %d of %d, again in %.2f s: %s: %s",
            handler,
            context.event_id,
            place,
            context.attempt,
            retry.attempts,
            wait,
            type(error).__name__,
            error,
        )
        yield Sleep(wait)
        context.attempt += 1
        self._observer.retried(context.topic, handler)

    def _prepared(
        self, result: Any, context: Context, listener: Listener
    ) -> Generator[Call | Sleep, Any, list[Outgoing]]:
        if result is None:
            return []
        events = list(result) if isinstance(result, list | tuple) else [result]
        while True:
            try:
                if all(self._outputs.knows(event) for event in events):
                    return self._outputs.prepare(events, context, listener.name)
                prepared: list[Outgoing] = yield Call(self._outputs.prepare, (events, context, listener.name))
                self._conditions.clear_condition("outputs")
                return prepared
            except (RegistryUnavailable, BrokerUnavailable) as error:
                # The handler has done its work: only the publishing waits, the handler is not called again.
                yield from self._wait_out("outputs", error)

    def _wait_out(self, condition: str, error: Exception) -> Generator[Call | Sleep, Any, None]:
        self._conditions.raise_condition(condition, str(error))
        yield Sleep(OUTAGE_WAIT_S)

    def _publish(
        self, message: Message, tracker: OffsetTracker, prepared: list[Outgoing], listener: Listener
    ) -> Generator[Call | Sleep, Any, None]:
        if not prepared:
            tracker.finished(message.offset())
            return
        pending = _Acknowledgements(self, message, tracker, listener.name, [out.topic for out in prepared])
        for outgoing in prepared:
            while not self._producer.try_send(
                outgoing.topic, outgoing.value, key=outgoing.key, headers=outgoing.headers, on_delivery=pending
            ):
                yield Sleep(FULL_BUFFER_WAIT_S)

    def bury(
        self,
        message: Message,
        tracker: OffsetTracker,
        error: BaseException,
        handler: str,
        attempts: int,
        failures: int = 0,
    ) -> None:
        """Sends the dead letter; the record is finished when it is acknowledged, and not before."""
        topic = dead_letter_topic(message.topic())

        def delivered(refusal: Any, _copy: Any) -> None:
            if refusal is None:
                self._conditions.clear_condition(f"dead letters of {message.topic()}")
                self._observer.dead_lettered(message.topic(), handler)
                tracker.finished(message.offset())
            else:
                again(refusal)

        def again(refusal: Any) -> None:
            wait = DEAD_LETTER_WAITS_S[min(failures, len(DEAD_LETTER_WAITS_S) - 1)]
            reason = (
                f"{topic} does not take the dead letter of {message.topic()}[{message.partition()}]"
                f"@{message.offset()}: {refusal}; again in {wait:g} s, the record stays uncommitted until then"
            )
            self._log.critical("%s", reason)
            self._conditions.raise_condition(f"dead letters of {message.topic()}", reason)
            self._loop.call_soon_threadsafe(later, wait)

        def later(wait: float) -> None:
            timer: asyncio.TimerHandle = self._loop.call_later(wait, lambda: retry(timer))
            self._timers.add(timer)

        def retry(timer: asyncio.TimerHandle) -> None:
            self._timers.discard(timer)
            self.bury(message, tracker, error, handler, attempts, failures + 1)

        try:
            event_id = Context(message, self._service).event_id
        except DecodeError:
            event_id = ""
        try:
            sent = self._producer.try_send(
                topic,
                message.value(),
                key=message.key(),
                headers=dead_letter_headers(
                    message,
                    error,
                    group=self._group,
                    service=self._service,
                    handler=handler,
                    attempts=attempts,
                    event_id=event_id,
                ),
                # The same partition where it exists; a dead-letter topic with fewer partitions takes it anywhere.
                partition=message.partition() if failures == 0 else -1,
                on_delivery=delivered,
            )
        except PublishError as refusal:
            again(refusal)
            return
        if not sent:
            again("the producer's buffer is full")

    def output_refused(self, message: Message, tracker: OffsetTracker, handler: str, topic: str, error: Any) -> None:
        """The handler ran, but what it returned was refused for good: the record is dead-lettered, so that replaying
        it runs the handler again and publishes under the same ids."""
        refusal = PublishError(f"topic {topic} refused what handler {handler} returned: {error}")
        self._log.error("%s[%d]@%d: %s", message.topic(), message.partition(), message.offset(), refusal)
        self._loop.call_soon_threadsafe(self.bury, message, tracker, refusal, handler, 1)

    def published(self, topic: str) -> None:
        self._observer.published(topic)

    def close(self) -> None:
        """Gives up the dead letters that wait to be sent again; their records are uncommitted."""
        for timer in self._timers:
            timer.cancel()


class _Acknowledgements:
    """Counts the delivery reports of one record's outputs; the record is finished with the last one.

    It is called on the producer's poll thread only, so the count needs no lock.
    """

    __slots__ = ("_handler", "_message", "_processor", "_tracker", "_waiting")

    def __init__(
        self, processor: RecordProcessor, message: Message, tracker: OffsetTracker, handler: str, topics: list[str]
    ) -> None:
        self._processor = processor
        self._message = message
        self._tracker = tracker
        self._handler = handler
        self._waiting = topics

    def __call__(self, error: Any, delivered: Any) -> None:
        topic = delivered.topic()
        if error is not None:
            self._processor.output_refused(self._message, self._tracker, self._handler, topic, error)
            return
        self._processor.published(topic)
        self._waiting.pop()
        if not self._waiting:
            self._tracker.finished(self._message.offset())
