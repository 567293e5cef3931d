"""The producer: idempotent, acks=all, one poll thread that serves every delivery report."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast

import confluent_kafka

from ottla.errors import PublishError
from ottla.kafka.config import open_client
from ottla.kafka.reach import Reach
from ottla.kafka.record import RecordMetadata
from ottla.settings import KafkaSettings

log = logging.getLogger("ottla.kafka")

PURGED = (confluent_kafka.KafkaError._PURGE_QUEUE, confluent_kafka.KafkaError._PURGE_INFLIGHT)

POLL_S = 0.02
"""How long the poll thread waits for a report; and so, at most, how long it takes to end."""

END_S = 5.0
"""How long it may take on a busy machine, or while it asks for the brokers."""

DOUBTED_S = 5.0
"""Records that wait for so long, without one being acknowledged, are cause to ask whether the brokers are there."""

LOOK_S = 1.0
GIVEN_UP_S = 60.0

Delivered = Callable[[Any, Any], None]
"""Called on the poll thread with (error or None, message). It must be quick and must not raise."""


class SendTracer(Protocol):
    """Makes a span of each record that is sent. It must be quick and must not raise."""

    def sending(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes | None]] | None,
        on_delivery: Delivered | None,
    ) -> tuple[list[tuple[str, bytes | None]], Delivered]:
        """The headers to send (with the span's place in its trace), and what to call with the delivery report."""


class Producer:
    """Publishes records. Thread-safe.

    Contract: `send` keeps the order of calls per partition, also through retries (idempotence). A record waits in
    memory until it is acknowledged, however long the brokers are away; when the buffer is full, `send` waits.
    Delivery reports arrive on the producer's own thread. A client that has lost the brokers for good (`reach`) is
    replaced by a new one, which sends the records that waited once more, in their order and before all others, where
    those who are told of them want that (`again`); one that was written without the client knowing is there twice then.

    Args:
        settings: Where the brokers are.
        tracer: Told of each record, where somebody wants spans.
        overrides: librdkafka properties with underscores for dots (`linger_ms=0`).
    """

    def __init__(self, settings: KafkaSettings, *, tracer: SendTracer | None = None, **overrides: Any) -> None:
        self.tracer = tracer
        chosen: dict[str, Any] = {
            "enable_idempotence": True,
            "acks": "all",
            "linger_ms": 2,
            "partitioner": "murmur2_random",
            # 0 is for ever: a record that was handed over is never dropped because a broker is away for long;
            # `publish` has a time limit of its own.
            "message_timeout_ms": 0,
            # The broker's limit counts, not the client's own, which is smaller: what could be written once must fit
            # again, with the headers of a dead letter.
            "message_max_bytes": 16 << 20,
            "error_cb": self._on_error,
        }
        self._timeout_s = settings.publish_timeout_s
        self._open = partial(open_client, confluent_kafka.Producer, settings, **(chosen | overrides))
        self._producer = self._open()
        self._given_up: list[tuple[confluent_kafka.Producer, float]] = []
        self._purged: list[tuple[Any, Delivered]] = []
        self._held = False  # nothing new may come before what waits to be sent again
        self._reach = Reach(settings)
        self._look_at = 0.0
        self._settled: list[tuple[asyncio.Future[RecordMetadata], RecordMetadata | PublishError]] = []
        self._running = True
        self.fatal: str | None = None
        self._moved_at = time.monotonic()
        self._thread = threading.Thread(target=self._serve, name="ottla-producer", daemon=True)
        self._thread.start()

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: list[tuple[str, bytes | None]] | None = None,
        partition: int = -1,
        on_delivery: Delivered | None = None,
    ) -> None:
        """Hands a record over; waits while the buffer is full.

        Raises:
            PublishError: The record cannot be sent at all (too large, or the producer met a fatal error).
        """
        while not self.try_send(topic, value, key=key, headers=headers, partition=partition, on_delivery=on_delivery):
            # The poll thread is draining the buffer; this is the backpressure that keeps memory bounded.
            time.sleep(0.005)

    def try_send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: list[tuple[str, bytes | None]] | None = None,
        partition: int = -1,
        on_delivery: Delivered | None = None,
    ) -> bool:
        """Hands a record over, or returns False at once if the buffer is full or the client is being replaced.

        Raises:
            PublishError: The record cannot be sent at all.
        """
        if self.fatal is not None:
            raise PublishError(f"topic {topic}: the producer cannot go on: {self.fatal}. Restart the service.")
        if self._held:
            return False
        if self.tracer is not None:
            # Where the buffer is full, the span is forgotten, and the next attempt begins another.
            headers, on_delivery = self.tracer.sending(topic, key, value, headers, on_delivery)
        try:
            if on_delivery is None:
                self._producer.produce(topic, value, key, partition, headers=cast(Any, headers))
            else:
                self._producer.produce(
                    topic, value, key, partition, on_delivery=on_delivery, headers=cast(Any, headers)
                )
        except BufferError:
            return False
        except confluent_kafka.KafkaException as error:
            raise PublishError(f"topic {topic}: the record cannot be sent: {error.args[0]}") from error
        return True

    async def publish(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: list[tuple[str, bytes | None]] | None = None,
        partition: int = -1,
    ) -> RecordMetadata:
        """Hands a record over and waits for its acknowledgement.

        Raises:
            PublishError: Refused, or not acknowledged within `kafka.publish_timeout_s`. In the second case the
                record may still arrive: publish again only with the same event id.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[RecordMetadata] = loop.create_future()

        def delivered(error: Any, message: Any) -> None:
            if error is not None and self.again(error, message, delivered):
                return
            self._settled.append((future, outcome_of(topic, error, message)))

        deadline = loop.time() + self._timeout_s
        while not self.try_send(topic, value, key=key, headers=headers, partition=partition, on_delivery=delivered):
            if loop.time() > deadline:
                raise PublishError(
                    f"topic {topic}: {len(self._producer)} records are waiting for brokers that do not answer; "
                    f"gave up after {self._timeout_s:g} s. The record was not sent."
                )
            await asyncio.sleep(0.005)
        try:
            return await asyncio.wait_for(future, deadline - loop.time())
        except TimeoutError:
            raise PublishError(
                f"topic {topic}: no acknowledgement within {self._timeout_s:g} s (kafka.publish_timeout_s). "
                f"The record may still arrive; publishing it again with the same event id is safe."
            ) from None

    def again(self, error: Any, message: Any, report: Delivered) -> bool:
        """Sends a record once more that waited in a client which has lost the brokers. To be asked at first by whoever
        gets a delivery report with an error, with what it got and itself.

        Returns:
            Whether `report` is called once more, with how that ends.
        """
        if error.code() not in PURGED or not self._running:
            return False
        self._purged.append((message, report))
        return True

    @property
    def silent_s(self) -> float:
        """For how many seconds records have been waiting without one being acknowledged or refused."""
        return time.monotonic() - self._moved_at

    @property
    def waiting(self) -> int:
        """Records handed over and not acknowledged yet."""
        return len(self._producer) + len(self._purged) + sum(len(client) for client, _ in self._given_up)

    def flush(self, timeout_s: float) -> int:
        """Waits until everything handed over is acknowledged. Returns how many records are still waiting."""
        # The library's own flush() serves delivery reports on the thread that calls it: beside the poll thread, two
        # reports of one record could then be counted at once.
        deadline = time.monotonic() + timeout_s
        while (left := self.waiting) and time.monotonic() < deadline:
            time.sleep(0.001)
        return left

    def close(self, timeout_s: float = 10.0) -> int:
        """Flushes and ends the poll thread. Returns how many records were not acknowledged."""
        left = self.flush(timeout_s)
        self._running = False
        self._thread.join(END_S)
        self._resolve()
        return left

    def _serve(self) -> None:
        while self._running:
            try:
                if self._producer.poll(POLL_S) or not len(self._producer):
                    self._moved_at = time.monotonic()
                elif self.silent_s > DOUBTED_S:
                    self._look_after_client()
                if self._given_up or self._purged:
                    self._clear_up()
            except Exception as error:
                self._poll_failed(error)
            if self._settled:
                self._resolve()

    def _look_after_client(self) -> None:
        if time.monotonic() < self._look_at:
            return
        if self._reach.is_lost(self._producer):
            log.warning("a producer has lost the brokers, which answer others: a new client takes its place")
            self._replace_client()
            self._reach.begin_anew()
        self._look_at = time.monotonic() + LOOK_S

    def _replace_client(self) -> None:
        self._held = True
        try:
            new = self._open()
            time.sleep(POLL_S)  # whoever was about to give the old client a record has done so
            self._empty(self._producer)
            self._given_up.append((self._producer, time.monotonic() + GIVEN_UP_S))
            self._producer = new
            self._send_purged(new)
        finally:
            self._held = bool(self._purged)

    def _clear_up(self) -> None:
        """Sends what the new client had no room for, and what came to an old one late nevertheless."""
        for client, _ in self._given_up:
            self._empty(client)
        self._send_purged(self._producer)
        self._held = bool(self._purged)
        now = time.monotonic()
        self._given_up = [(client, until) for client, until in self._given_up if now < until or len(client)]

    def _empty(self, client: confluent_kafka.Producer) -> None:
        """Has the waiting records of a client that is given up reported."""
        client.purge()
        while len(client) and client.poll(POLL_S):
            pass

    def _send_purged(self, client: confluent_kafka.Producer) -> None:
        purged, self._purged = self._purged, []
        for at, (message, report) in enumerate(purged):
            # One that was never connected has not looked for a partition either.
            partition = -1 if message.partition() is None else message.partition()
            topic, value, key, headers = message.topic(), message.value(), message.key(), message.headers()
            try:
                client.produce(topic, value, key, partition, on_delivery=report, headers=headers)
            except BufferError:
                self._purged = purged[at:] + self._purged
                return
            except confluent_kafka.KafkaException as error:
                report(error.args[0], message)

    def _resolve(self) -> None:
        """Wakes each event loop once for all of its futures, not once per record."""
        settled, self._settled = self._settled, []
        by_loop: dict[asyncio.AbstractEventLoop, list[Any]] = {}
        for entry in settled:
            by_loop.setdefault(entry[0].get_loop(), []).append(entry)
        for loop, entries in by_loop.items():
            try:
                loop.call_soon_threadsafe(_settle, entries)
            except RuntimeError:  # The loop is closed: nobody waits any more.
                log.debug("%d acknowledgements arrived after their event loop had closed", len(entries))

    def _poll_failed(self, error: Exception) -> None:
        """poll() raises fatal errors (they never reach error_cb), and what a delivery callback raised. Without this
        thread no record would ever be acknowledged again, so it goes on."""
        cause = error.args[0] if isinstance(error, confluent_kafka.KafkaException) else None
        if cause is not None and cause.fatal():
            self.fatal = str(cause)
            log.critical("the producer met a fatal error and cannot go on: %s", cause)
        else:
            log.critical("a delivery report could not be handled: %s", error, exc_info=error)

    def _on_error(self, error: Any) -> None:
        if error.code() != confluent_kafka.KafkaError._ALL_BROKERS_DOWN:
            log.debug("producer: %s", error)


def outcome_of(topic: str, error: Any, message: Any) -> RecordMetadata | PublishError:
    """What a delivery report says: where the record lies, or that it was refused."""
    if error is not None:
        return refused(topic, error)
    return RecordMetadata(topic, message.partition(), message.offset(), message.timestamp()[1])


def refused(topic: str, error: Any) -> PublishError:
    """What to raise for a delivery report's error."""
    if error.code() in PURGED:
        return PublishError(
            f"topic {topic}: the client lost the brokers and was replaced by a new one. The record may have been "
            f"written; publishing it again with the same event id is safe."
        )
    return PublishError(f"topic {topic}: the broker refused the record: {error}")


def lacks_partition(refusal: Any) -> bool:
    """Whether a record was refused because its topic has fewer partitions than the one it was meant for.

    Args:
        refusal: What `try_send` raised, or what a delivery report said.
    """
    cause = getattr(refusal, "__cause__", None)
    error = cause.args[0] if isinstance(cause, confluent_kafka.KafkaException) else refusal
    return (
        isinstance(error, confluent_kafka.KafkaError) and error.code() == confluent_kafka.KafkaError._UNKNOWN_PARTITION
    )


def _settle(entries: list[tuple[asyncio.Future[RecordMetadata], RecordMetadata | PublishError]]) -> None:
    for future, outcome in entries:
        if future.done():
            continue
        if isinstance(outcome, PublishError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
