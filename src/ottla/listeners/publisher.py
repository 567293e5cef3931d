"""Publishes events that no record in hand led to: from an HTTP request, a timer, a script."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Unpack

import msgspec

from ottla.errors import KafkaError, PublishError, TransactionAborted
from ottla.events.envelope import time_now
from ottla.events.ids import new_event_ids
from ottla.kafka.producer import Producer, refused
from ottla.kafka.record import Headers, RecordMetadata
from ottla.kafka.transactions import TransactionalProducer
from ottla.listeners.hooks import Observer
from ottla.listeners.outputs import EventOptions, Maker, Outgoing, Outputs

FULL_BUFFER_WAIT_S = 0.005

TURN = 500
"""Events of one call that are handed over before others on the event loop have a turn."""

Failed = Callable[[Any, PublishError], None]
"""Called on the producer's thread with the event and the error; it must be quick and must not raise."""


class Publisher:
    """Everything `App` publishes with. Belongs to the event loop it is used on.

    Args:
        outputs: Makes records of events.
        producer: Sends them.
        observer: Told of what was acknowledged and what was not.
        open_transactional: Makes the producer of `transaction`, when the first one is opened.
        log: Where a failed `send` is told.
        timeout_s: How long a publish may wait for its acknowledgement.
    """

    def __init__(
        self,
        *,
        outputs: Outputs,
        producer: Producer,
        observer: Observer,
        open_transactional: Callable[[], TransactionalProducer],
        log: logging.Logger,
        timeout_s: float,
    ) -> None:
        self._outputs = outputs
        self._producer = producer
        self._observer = observer
        self._open_transactional = open_transactional
        self._log = log
        self._timeout_s = timeout_s
        self._transactional: TransactionalProducer | None = None
        self._one_at_a_time = asyncio.Lock()
        self._sent = 0

    async def publish(self, event: Any, **options: Unpack[EventOptions]) -> RecordMetadata:
        """Sends an event and waits for its acknowledgement. See App.publish."""
        outgoing = await self.prepare(event, **options)
        metadata = await self._producer.publish(
            outgoing.topic, outgoing.value, key=outgoing.key, headers=outgoing.headers
        )
        self._observer.published(outgoing.topic)
        return metadata

    async def publish_many(
        self, events: Iterable[Any], *, correlation_id: str | None = None, causation_id: str | None = None
    ) -> list[RecordMetadata]:
        """Sends events and waits for all acknowledgements. See App.publish_many."""
        # Lists of bytes, and the headers only when they are sent: of what is alive meanwhile, next to nothing is of
        # interest to the garbage collector, whose rounds would cost more than the events otherwise.
        makers: list[Maker] = []
        keys: list[bytes | None] = []
        values: list[bytes] = []
        maker: Maker | None = None
        kind: type | None = None
        for number, event in enumerate(events, 1):
            if maker is None or type(event) is not kind:
                known = self._outputs.knows(event)
                maker = self._outputs.maker(event) if known else await asyncio.to_thread(self._outputs.maker, event)
                kind = type(event)
            makers.append(maker)
            keys.append(maker.key(event))
            values.append(maker.value(event))
            if number % TURN == 0:
                await asyncio.sleep(0)
        loop, many = asyncio.get_running_loop(), _Many(self._producer, len(values))
        deadline = loop.time() + self._timeout_s
        try:
            for first in range(0, len(values), TURN):
                now, turn = time_now(), range(first, min(first + TURN, len(values)))
                for number, identity in zip(turn, new_event_ids(len(turn)), strict=True):
                    maker = makers[number]
                    headers = maker.headers(identity, correlation_id or identity, causation_id, now)
                    topic, key, value = maker.topic, keys[number], values[number]
                    report = _OfMany(many, number, topic)
                    if not self._producer.try_send(topic, value, key=key, headers=headers, on_delivery=report):
                        await self._hand_over(Outgoing(topic, key, value, headers), deadline, report)
                await asyncio.sleep(0)
            if values:
                await asyncio.wait_for(many.done.wait(), deadline - loop.time())
        except TimeoutError:
            raise PublishError(
                f"{many.left} of {len(values)} events were not acknowledged within {self._timeout_s:g} s "
                f"(kafka.publish_timeout_s). They may still arrive."
            ) from None
        finally:
            for topic, count in Counter(one.topic for one in many.metadata if one is not None).items():
                self._observer.published(topic, count)
        if many.refusals:
            raise PublishError(f"{len(many.refusals)} of {len(values)} events were refused: {many.refusals[0]}")
        return [one for one in many.metadata if one is not None]

    def send_at_once(self, event: Any, on_error: Failed | None, options: EventOptions) -> bool:
        """As `send`; False, with nothing done, where that must wait, or others on the event loop are due for a turn."""
        if self._sent == TURN or not self._outputs.knows(event, options.get("topic")):
            return False
        self._sent += 1
        outgoing = self._outputs.prepare_one(event, **options)
        return self._try_send(
            outgoing, _Sent(self._producer, self._observer, self._log, outgoing.topic, event, on_error)
        )

    async def send(self, event: Any, *, on_error: Failed | None = None, **options: Unpack[EventOptions]) -> None:
        """Hands over an event that `send_at_once` has not taken. See App.send."""
        self._sent = 0
        await asyncio.sleep(0)  # Nothing else here waits: whoever sends in a loop would have the event loop alone.
        outgoing = await self.prepare(event, **options)
        report = self._report(outgoing, event, on_error)
        await self._hand_over(outgoing, asyncio.get_running_loop().time() + self._timeout_s, report)

    async def tombstone(self, cls: type, key: Any, headers: Headers | None) -> RecordMetadata:
        """Writes a record without value. See App.publish_tombstone."""
        topic = self._outputs.topic_of(cls)
        data = await asyncio.to_thread(self._outputs.key_of, cls, key)
        metadata = await self._producer.publish(topic, None, key=data, headers=headers)
        self._observer.published(topic)
        return metadata

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Events that become visible together or not at all. See App.transaction."""
        async with self._one_at_a_time:
            if self._transactional is None:
                self._transactional = await asyncio.to_thread(self._open_transactional)
            producer = self._transactional
            open_one = Transaction(self, producer)
            try:
                await _to_its_end(producer.begin)
                try:
                    yield open_one
                except BaseException:
                    await _to_its_end(producer.abort)
                    raise
                try:
                    await _to_its_end(producer.commit)
                except TransactionAborted:
                    await _to_its_end(producer.abort)
                    raise
            except KafkaError as error:
                if not isinstance(error, TransactionAborted):
                    # Fenced, or nobody knows how it ended: the next transaction begins with a new producer.
                    self._transactional = None
                    producer.close()
                raise
            for topic in open_one.topics:
                self._observer.published(topic)

    def close(self) -> None:
        if self._transactional is not None:
            self._transactional.close()
            self._transactional = None

    async def prepare(self, event: Any, **options: Unpack[EventOptions]) -> Outgoing:
        """Makes a record of an event. The first of a class asks for its topic and its schema's id, in a thread."""
        if self._outputs.knows(event, options.get("topic")):
            return self._outputs.prepare_one(event, **options)
        return await asyncio.to_thread(partial(self._outputs.prepare_one, event, **options))

    def _report(self, outgoing: Outgoing, event: Any, on_error: Failed | None) -> _Sent:
        return _Sent(self._producer, self._observer, self._log, outgoing.topic, event, on_error)

    def _try_send(self, outgoing: Outgoing, delivered: Callable[[Any, Any], None]) -> bool:
        return self._producer.try_send(
            outgoing.topic, outgoing.value, key=outgoing.key, headers=outgoing.headers, on_delivery=delivered
        )

    async def _hand_over(self, outgoing: Outgoing, deadline: float, delivered: Callable[[Any, Any], None]) -> None:
        """Waits while the producer's buffer is full: that is the backpressure."""
        loop = asyncio.get_running_loop()
        while not self._try_send(outgoing, delivered):
            if loop.time() > deadline:
                raise not_taken(outgoing.topic, self._timeout_s)
            await asyncio.sleep(FULL_BUFFER_WAIT_S)


def not_taken(topic: str, timeout_s: float) -> PublishError:
    """The buffer stays full."""
    return PublishError(
        f"topic {topic}: the buffer has been full for {timeout_s:g} s, no broker takes anything. The record was not "
        f"sent."
    )


class _Sent(msgspec.Struct, gc=False):
    """What becomes of an event that nobody waits for. There may be a hundred thousand of these: they are nothing for
    the garbage collector to look at."""

    producer: Any
    observer: Any
    log: logging.Logger
    topic: str
    event: Any
    on_error: Failed | None

    def __call__(self, error: Any, message: Any) -> None:
        if error is None:
            self.observer.published(self.topic)
            return
        if self.producer.again(error, message, self):
            return
        failure = refused(self.topic, error)
        self.observer.publish_failed(self.topic)
        self.log.error("an event that was sent is lost: %s", failure)
        if self.on_error is not None:
            self.on_error(self.event, failure)


class _Many:
    """What becomes of the events of one `publish_many`."""

    def __init__(self, producer: Producer, count: int) -> None:
        self.again = producer.again
        self.metadata: list[RecordMetadata | None] = [None] * count
        self.refusals: list[str] = []
        self.left = count
        self.done = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def settled(self) -> None:
        """One more is acknowledged or refused: on the producer's thread only, so the count needs no lock."""
        self.left -= 1
        if not self.left:
            self._loop.call_soon_threadsafe(self.done.set)


class _OfMany(msgspec.Struct, gc=False):
    """The delivery report of one of them. As with `_Sent`, there may be very many."""

    many: Any
    number: int
    topic: str

    def __call__(self, error: Any, message: Any) -> None:
        if error is None:
            self.many.metadata[self.number] = RecordMetadata(
                self.topic, message.partition(), message.offset(), message.timestamp()[1]
            )
        elif self.many.again(error, message, self):
            return
        else:
            self.many.refusals.append(f"topic {self.topic}: {error}")
        self.many.settled()


async def _to_its_end(step: Callable[[], None]) -> None:
    """Takes a step in a thread, and waits for its end also where the task is cancelled: the next step may not begin
    before."""
    task = asyncio.ensure_future(asyncio.to_thread(step))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


class Transaction:
    """An open transaction of an app."""

    def __init__(self, publisher: Publisher, producer: TransactionalProducer) -> None:
        self._publisher = publisher
        self._producer = producer
        self.topics: list[str] = []

    async def publish(self, event: Any, **options: Unpack[EventOptions]) -> None:
        """Adds an event. It is acknowledged with the transaction, and has no offset before.

        Args:
            event: An instance of an `@event` class.
            options: As App.publish takes them.

        Raises:
            EventDefinitionError, EncodeError, RegistryUnavailable, RegistryRejected: As App.publish.
            PublishError: It cannot be sent at all.
        """
        outgoing = await self._publisher.prepare(event, **options)
        self._producer.send(outgoing.topic, outgoing.value, key=outgoing.key, headers=outgoing.headers)
        self.topics.append(outgoing.topic)
