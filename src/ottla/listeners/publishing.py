"""Publishes what a handler returned for a record; the record is finished with the last acknowledgement."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from typing import Any

import msgspec

from ottla.errors import BrokerUnavailable, PublishError, RegistryUnavailable
from ottla.events.envelope import read_flow
from ottla.kafka.producer import Producer
from ottla.kafka.record import Message
from ottla.listeners.burial import DeadLetters
from ottla.listeners.context import Context
from ottla.listeners.hooks import Conditions, Observer
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.outputs import Outgoing, Outputs
from ottla.listeners.replies import reply_address
from ottla.listeners.steps import Call, Sleep, wait_out
from ottla.listeners.transaction import OpenTransaction, commit_waits

FULL_BUFFER_WAIT_S = 0.005


class Publishing:
    """The last part of a record's way. Its methods are called from several threads.

    Args:
        transaction: What exactly-once handlers write to, instead of `producer`.
    """

    def __init__(
        self,
        *,
        outputs: Outputs,
        producer: Producer,
        dead_letters: DeadLetters,
        observer: Observer,
        conditions: Conditions,
        loop: asyncio.AbstractEventLoop,
        log: logging.Logger,
        transaction: OpenTransaction | None = None,
    ) -> None:
        self._transaction = transaction
        self._outputs = outputs
        self._producer = producer
        self._dead_letters = dead_letters
        self._conditions = conditions
        self._loop = loop
        self._log = log
        self.published = observer.published
        self.again = producer.again

    def prepare(self, result: Any, context: Context, handler: str) -> Generator[Call | Sleep, Any, list[Outgoing]]:
        """Makes records of what a handler returned; waits for a registry or a broker that is away."""
        if result is None:
            return []
        events = list(result) if isinstance(result, list | tuple) else [result]
        if all(self._outputs.knows(event) for event in events):
            return _addressed(self._outputs.prepare(events, context, handler), context)
        # One condition per partition: the success of another must not clear it.
        condition = f"outputs for {context.topic}[{context.partition}]"
        try:
            while True:
                try:
                    prepared: list[Outgoing] = yield Call(self._outputs.prepare, (events, context, handler))
                    return _addressed(prepared, context)
                except (RegistryUnavailable, BrokerUnavailable) as error:
                    # The handler has done its work: only the publishing waits, the handler is not called again.
                    yield from wait_out(self._conditions, condition, error)
        finally:  # Also where the record is given up while it waits: the condition is not ours any more.
            self._conditions.clear_condition(condition)

    def answer(self, message: Message, event: Any, tracker: OffsetTracker, handler: str) -> bool:
        """Publishes the one event that a handler returned and sees to it that the record is finished, as `prepare` and
        `publish` would. False, with nothing done, where anything is out of the ordinary: these are for that."""
        headers = message.headers()
        flow = read_flow(headers)
        if flow is None or not self._outputs.knows(event) or reply_address(headers) is not None:
            return False
        try:
            outgoing = self._outputs.prepare_caused(event, *flow, handler)
            if self._transaction is not None:
                return self._transaction.at_ease and self._transaction.try_write(message, tracker, [outgoing])
            answered = _Answered(self, message, tracker, handler, outgoing.topic)
            return self._producer.try_send(
                outgoing.topic, outgoing.value, key=outgoing.key, headers=outgoing.headers, on_delivery=answered
            )
        except Exception:
            return False  # It is raised again there, where it is known what to do.

    def publish(
        self, message: Message, tracker: OffsetTracker, prepared: list[Outgoing], handler: str
    ) -> Generator[Call | Sleep, Any, None]:
        """Sends the records; `message` is finished when the last one is acknowledged, at once if there is none. In a
        transaction it is finished with the sending: both are committed together."""
        if self._transaction is not None:
            waits = commit_waits()
            while not self._transaction.try_write(message, tracker, prepared):
                yield Sleep(next(waits))
            return
        if not prepared:
            tracker.finished(message.offset())
            return
        pending = _Acknowledgements(self, message, tracker, handler, len(prepared))
        for outgoing in prepared:
            while not self._producer.try_send(
                outgoing.topic,
                outgoing.value,
                key=outgoing.key,
                headers=outgoing.headers,
                partition=outgoing.partition,
                on_delivery=pending,
            ):
                yield Sleep(FULL_BUFFER_WAIT_S)

    def refused(self, message: Message, tracker: OffsetTracker, handler: str, topic: str, error: Any) -> None:
        """The handler ran, but what it returned was refused for good: the record is dead-lettered, so that replaying
        it runs the handler again and publishes under the same ids."""
        refusal = PublishError(f"topic {topic} refused what handler {handler} returned: {error}")
        self._log.error("%s[%d]@%d: %s", message.topic(), message.partition(), message.offset(), refusal)
        self._loop.call_soon_threadsafe(self._dead_letters.bury, message, tracker, refusal, handler, 1)


def _addressed(prepared: list[Outgoing], context: Context) -> list[Outgoing]:
    """Sent where the record asks its answer to be sent, if it does."""
    asked = reply_address(context.headers)
    return prepared if asked is None else [asked.addressed(one) for one in prepared]


class _Answered(msgspec.Struct, gc=False):
    """The delivery report of a record's only output. There may be a hundred thousand of these: they are nothing for the
    garbage collector to look at."""

    publishing: Any
    message: Any
    tracker: Any
    handler: str
    topic: str

    def __call__(self, error: Any, delivered: Any) -> None:
        if error is None:
            self.publishing.published(self.topic)
            self.tracker.finished(self.message.offset())
        elif not self.publishing.again(error, delivered, self):
            self.publishing.refused(self.message, self.tracker, self.handler, self.topic, error)


class _Acknowledgements:
    """Counts the delivery reports of one record's outputs.

    It is called on the producer's poll thread only, so the count needs no lock.
    """

    __slots__ = ("_handler", "_message", "_publishing", "_refused", "_tracker", "_waiting")

    def __init__(
        self, publishing: Publishing, message: Message, tracker: OffsetTracker, handler: str, waiting: int
    ) -> None:
        self._publishing = publishing
        self._message = message
        self._tracker = tracker
        self._handler = handler
        self._waiting = waiting
        self._refused = False

    def __call__(self, error: Any, delivered: Any) -> None:
        topic = delivered.topic()
        if error is None:
            self._publishing.published(topic)
            self._waiting -= 1
            if self._waiting == 0:
                self._tracker.finished(self._message.offset())
        elif self._publishing.again(error, delivered, self):
            pass
        elif not self._refused:  # One dead letter is enough, however many outputs are refused.
            self._refused = True
            self._publishing.refused(self._message, self._tracker, self._handler, topic, error)
