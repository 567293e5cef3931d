"""Publishing from scripts: plain calls, no event loop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Unpack

import msgspec

from ottla.errors import KafkaError, PublishError, TransactionAborted
from ottla.events import new_event_id
from ottla.kafka.producer import Producer as KafkaProducer
from ottla.kafka.producer import outcome_of, refused
from ottla.kafka.record import Headers, RecordMetadata
from ottla.kafka.topics import ServiceTopics
from ottla.kafka.transactions import TransactionalProducer
from ottla.listeners.outputs import EventOptions, Outgoing, Outputs, make_serializer
from ottla.listeners.publisher import FULL_BUFFER_WAIT_S, not_taken
from ottla.observability.tracing import tracing_for
from ottla.registry.client import client_for
from ottla.settings import Settings, load_settings

Delivered = Callable[[Any, RecordMetadata | PublishError], None]
"""Called on the producer's thread with the event and where it lies, or why it was refused. It must be quick."""


class Producer:
    """Publishes events, typed and with schemas as an App does, for scripts and threads of one's own:

        with Producer() as producer:
            producer.publish(OrderCreated(order_id="o-1"))

    Leaving the block waits for what was sent, and raises PublishError if something was refused. Thread-safe, but for
    `transaction`, of which one is open at a time.

    Args:
        settings: None reads them (arguments > environment > .env > ottla.toml > defaults).
        name: The client id, and the source of its events.

    Raises:
        ConfigurationError: The settings cannot be used.
    """

    def __init__(self, settings: Settings | None = None, *, name: str = "script") -> None:
        self._settings = settings = settings or load_settings()
        self._name = name
        self._timeout_s = settings.kafka.publish_timeout_s
        self._log = logging.getLogger(f"ottla.{name}")
        self._registry = client_for(settings.registry)
        self._tracing = tracing_for(name, settings)
        self._outputs = Outputs(
            make_serializer(settings, self._registry), ServiceTopics(settings.kafka, self._log), name
        )
        self._producer = KafkaProducer(settings.kafka, client_id=name, tracer=self._tracing)
        self._transactional: TransactionalProducer | None = None
        self._refusals: list[PublishError] = []
        self._closed = False

    def __enter__(self) -> Producer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except PublishError as refusal:
            if error is None:
                raise
            self._log.error("%s", refusal)  # What the block raised matters more.

    def publish(self, event: Any, **options: Unpack[EventOptions]) -> RecordMetadata:
        """Publishes an event and waits until Kafka has acknowledged it.

        Args:
            event: An instance of an `@event` class; its class says the topic.
            options: Key, headers, ids, another topic (`ottla.listeners.outputs.EventOptions`).

        Raises:
            PublishError: Refused, or not acknowledged in `kafka.publish_timeout_s`; then it may still arrive.
            RegistryUnavailable, RegistryRejected, BrokerUnavailable: No schema id, or no topic, for it.
            EventDefinitionError, EncodeError: It is not an event, or does not fit its schema.
        """
        return self._acknowledged([self._prepare(event, options)])[0]

    def publish_many(
        self, events: Iterable[Any], *, correlation_id: str | None = None, causation_id: str | None = None
    ) -> list[RecordMetadata]:
        """Publishes events, in order per partition, and waits until Kafka has acknowledged all of them.

        Returns:
            Where each lies, in the order of `events`.

        Raises:
            PublishError: Some were refused, or not acknowledged in time; the others are published all the same. For
                all or nothing there is `transaction`.
            EventDefinitionError, EncodeError, RegistryUnavailable, RegistryRejected, BrokerUnavailable: Nothing was
                sent.
        """
        options = EventOptions(correlation_id=correlation_id, causation_id=causation_id)
        return self._acknowledged([self._prepare(one, options) for one in events])

    def send(self, event: Any, *, on_delivery: Delivered | None = None, **options: Unpack[EventOptions]) -> None:
        """Hands an event over without waiting for its acknowledgement; waits only while the buffer is full.

        Args:
            event, options: As `publish` takes them.
            on_delivery: Told how it ended. Without it, a refusal is raised by the next `flush`, or at the end.

        Raises:
            As `publish`, but for the acknowledgement.
        """

        outgoing = self._prepare(event, options)
        report = _Sent(self._producer, self._refusals, outgoing.topic, event, on_delivery)
        if not self._try_send(outgoing, report):
            self._hand_over(outgoing, time.monotonic() + self._timeout_s, report)

    def publish_tombstone(self, cls: type, key: str, *, headers: Headers | None = None) -> RecordMetadata:
        """Writes a record without value: on a compacted topic it deletes the key.

        Args:
            cls: An event class; it says the topic.
            key: The key.
            headers: Headers.

        Raises:
            PublishError: As `publish`.
        """
        self._require_open()
        outgoing = Outgoing(self._outputs.topic_of(cls), key.encode(), None, headers or [])
        return self._acknowledged([outgoing])[0]

    @contextmanager
    def transaction(self) -> Iterator[ScriptTransaction]:
        """Events that become visible together or not at all, to readers of committed records:

            with producer.transaction() as transaction:
                transaction.publish(OrderCreated(...))
                transaction.publish(StockReserved(...))

        Committed at the end of the block, aborted if it raises.

        Raises:
            TransactionAborted: It was rolled back; doing it again is safe.
            BrokerUnavailable: No answer in time: it may or may not be committed.
        """
        self._require_open()
        if self._transactional is None:
            name = f"{self._name}-{new_event_id()}"
            self._transactional = TransactionalProducer(self._settings.kafka, name, client_id=self._name)
            self._transactional.tracer = self._tracing
        opened = self._transactional
        try:
            with opened.transaction():
                yield ScriptTransaction(self, opened)
        except KafkaError as error:
            if not isinstance(error, TransactionAborted | PublishError):
                # Fenced, or nobody knows how it ended: the next transaction begins with a new client.
                self._transactional = None
                opened.close()
            raise

    def flush(self, timeout_s: float | None = None) -> None:
        """Waits until what was sent is acknowledged.

        Args:
            timeout_s: None is `kafka.publish_timeout_s`.

        Raises:
            PublishError: Something was refused, or is not acknowledged in time.
        """
        self._conclude(self._producer.flush(self._timeout_s if timeout_s is None else timeout_s))

    def close(self) -> None:
        """Flushes, and gives up the connections; nothing more can be published.

        Raises:
            PublishError: Something that was sent was refused, or was not acknowledged in time.
        """
        if self._closed:
            return
        self._closed = True
        if self._transactional is not None:
            self._transactional.close()
        left = self._producer.close(self._timeout_s)
        self._registry.close()
        self._conclude(left)

    def _conclude(self, left: int) -> None:
        # Of the same list: reports add to it, on another thread.
        refusals = [self._refusals.pop(0) for _ in range(len(self._refusals))]
        if refusals:
            raise PublishError(f"{len(refusals)} events that were sent were refused; the first: {refusals[0]}")
        if left:
            raise PublishError(
                f"{left} events that were sent are not acknowledged after {self._timeout_s:g} s "
                f"(kafka.publish_timeout_s): no broker at {self._settings.kafka.bootstrap_servers} takes them"
            )

    def _acknowledged(self, prepared: list[Outgoing]) -> list[RecordMetadata]:
        """Sends records and waits for all of them."""
        if not prepared:
            return []
        outcomes: list[RecordMetadata | PublishError | None] = [None] * len(prepared)
        done, left = threading.Event(), len(prepared)
        deadline = time.monotonic() + self._timeout_s

        def report(number: int) -> Callable[[Any, Any], None]:
            def delivered(error: Any, message: Any) -> None:
                nonlocal left
                if error is not None and self._producer.again(error, message, delivered):
                    return
                outcomes[number] = outcome_of(prepared[number].topic, error, message)
                left -= 1  # on the producer's thread only
                if not left:
                    done.set()

            return delivered

        for number, outgoing in enumerate(prepared):
            self._hand_over(outgoing, deadline, report(number))
        if not done.wait(max(0.0, deadline - time.monotonic())):
            raise PublishError(
                f"topic {prepared[0].topic}: {left} of {len(prepared)} events were not acknowledged within "
                f"{self._timeout_s:g} s (kafka.publish_timeout_s). They may still arrive; publishing them again with "
                f"the same event ids is safe."
            )
        refusals = [one for one in outcomes if isinstance(one, PublishError)]
        if len(prepared) == 1 and refusals:
            raise refusals[0]
        if refusals:
            raise PublishError(f"{len(refusals)} of {len(prepared)} events were refused: {refusals[0]}")
        return [one for one in outcomes if isinstance(one, RecordMetadata)]

    def _try_send(self, outgoing: Outgoing, delivered: Callable[[Any, Any], None]) -> bool:
        return self._producer.try_send(
            outgoing.topic, outgoing.value, key=outgoing.key, headers=outgoing.headers, on_delivery=delivered
        )

    def _hand_over(self, outgoing: Outgoing, deadline: float, delivered: Callable[[Any, Any], None]) -> None:
        """Waits while the buffer is full: that is the backpressure."""
        while not self._try_send(outgoing, delivered):
            if time.monotonic() > deadline:
                raise not_taken(outgoing.topic, self._timeout_s)
            time.sleep(FULL_BUFFER_WAIT_S)

    def _prepare(self, event: Any, options: EventOptions) -> Outgoing:
        self._require_open()
        return self._outputs.prepare_one(event, **options)

    def _require_open(self) -> None:
        if self._closed:
            raise PublishError(f"the producer {self._name} is closed; nothing was sent")


class _Sent(msgspec.Struct, gc=False):
    """What becomes of an event that nobody waits for. There may be a hundred thousand of these: they are nothing for
    the garbage collector to look at."""

    producer: Any
    refusals: list[PublishError]
    topic: str
    event: Any
    on_delivery: Delivered | None

    def __call__(self, error: Any, message: Any) -> None:
        if error is not None and self.producer.again(error, message, self):
            return
        if self.on_delivery is not None:
            self.on_delivery(self.event, outcome_of(self.topic, error, message))
        elif error is not None:
            self.refusals.append(refused(self.topic, error))


class ScriptTransaction:
    """An open transaction of a Producer."""

    def __init__(self, producer: Producer, transactional: TransactionalProducer) -> None:
        self._producer = producer
        self._transactional = transactional

    def publish(self, event: Any, **options: Unpack[EventOptions]) -> None:
        """Adds an event. It is acknowledged with the transaction, and has no offset before.

        Raises:
            EventDefinitionError, EncodeError, RegistryUnavailable, RegistryRejected: As Producer.publish.
            PublishError: It cannot be sent at all.
        """
        outgoing = self._producer._prepare(event, options)
        self._transactional.send(outgoing.topic, outgoing.value, key=outgoing.key, headers=outgoing.headers)
