"""Scheduled publishing: events that are published later, whatever is restarted meanwhile.

They wait in the compacted topic `<service>-scheduled`: a record per event, keyed by the schedule's id, with the
finished payload as its value, and the time, the topic and the key in headers. One member of the group
`<service>-scheduled` has each of its partitions (`ottla.kafka.owned_topic`), holds what waits there in memory, and when
an event is due, publishes it and writes the tombstone of its record in one Kafka transaction: readers of committed
records see it once. A cancellation is a tombstone, too.

An event is never published before its time by the clock of the machine that publishes it, and as soon after it as that
machine, a transaction and Kafka allow: milliseconds, or when the service runs again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import NamedTuple

from ottla.errors import KafkaError, PublishError, TransactionAborted
from ottla.kafka.admin import Admin
from ottla.kafka.owned_topic import OwnedTopic
from ottla.kafka.producer import Producer
from ottla.kafka.record import Headers, Record
from ottla.kafka.transactions import TransactionalProducer
from ottla.listeners.hooks import Conditions, Observer
from ottla.listeners.outputs import Outgoing
from ottla.patterns.part import Surroundings
from ottla.patterns.wheel import Wheel
from ottla.settings import Settings

DUE = "ottla-due-ms"
TARGET_TOPIC = "ottla-due-topic"
TARGET_KEY = "ottla-due-key"
OWN_HEADERS = frozenset({DUE, TARGET_TOPIC, TARGET_KEY})

POLL_S = 0.1
AGAIN_S = 1.0
BATCH = 500
"""Events of one transaction."""

STOP_S = 10.0
"""What a stop gives the transaction in hand and the leaving of the group: a broker that hangs answers neither."""


class Scheduled(NamedTuple):
    """An event that waits."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers


class _Partition:
    """A partition that is ours."""

    def __init__(self, producer: TransactionalProducer, end: int) -> None:
        self.producer = producer
        self.end = end
        self.refused = False


def topic_of(service: str) -> str:
    """Where the events of a service wait."""
    return f"{service}-scheduled"


class Scheduler:
    """Takes events for later, and publishes those that are due, on a thread of its own."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._group = topic_of(service)
        self._condition = "schedule"
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    async def start(self, app: Surroundings) -> None:
        self._settings: Settings = app.settings
        self._producer: Producer = app.producer
        self._observer: Observer = app.observer
        self._conditions: Conditions = app.conditions
        self._log: logging.Logger = app.log
        self._topic = app.topics.named(self._group)
        self._made = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self._group, daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, STOP_S)
            if self._thread.is_alive():
                self._log.error("no broker let the scheduled events go; whoever takes them over waits for the group")
            self._thread = None
            self._conditions.clear_condition(self._condition)

    async def add(self, name: str, due_ms: int, outgoing: Outgoing) -> None:
        """Waits until Kafka has the event and its time.

        Raises:
            PublishError: It was not acknowledged; it may be scheduled all the same.
        """
        await self._ready()
        headers: Headers = [
            (DUE, str(due_ms).encode()),
            (TARGET_TOPIC, outgoing.topic.encode()),
            (TARGET_KEY, outgoing.key),
            *outgoing.headers,
        ]
        await self._producer.publish(self._topic, outgoing.value, key=name.encode(), headers=headers)

    async def cancel(self, name: str) -> None:
        """Waits until Kafka has the cancellation. Raises PublishError as `add`."""
        await self._ready()
        await self._producer.publish(self._topic, None, key=name.encode())

    async def _ready(self) -> None:
        timeout_s = self._settings.kafka.publish_timeout_s
        if not self._made.is_set() and not await asyncio.to_thread(self._made.wait, timeout_s):
            raise PublishError(f"topic {self._topic} could not be made in {timeout_s:g} s; nothing was scheduled")

    def _make_topic(self) -> None:
        kafka = self._settings.kafka
        admin = Admin(kafka)
        if kafka.create_topics:
            admin.ensure_topics({self._topic: kafka.topic_partitions}, config={"cleanup.policy": "compact"})
        elif self._topic not in admin.topics():
            raise KafkaError(
                f"topic {self._topic} does not exist, and kafka.create_topics is off: create it with "
                f"cleanup.policy=compact before you schedule events"
            )

    # ------------------------------------------------------------------ its thread

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if not self._made.is_set():
                    self._make_topic()
                    self._made.set()
                self._serve()
            except Exception as error:  # ending here would leave events unpublished in silence
                expected = isinstance(error, KafkaError)
                reason = f"scheduled events wait: {error}"
                self._log.warning("%s", reason, exc_info=None if expected else error)
                self._conditions.raise_condition(self._condition, reason)
                self._stop.wait(AGAIN_S)

    def _serve(self) -> None:
        topic = OwnedTopic(self._settings.kafka, self._settings.listener, self._topic, self._group)
        owner = _Owner(topic, self._topic, self._observer, self._log)
        try:
            while not self._stop.is_set():
                owner.turn()
                if owner.refusal is None:
                    self._conditions.clear_condition(self._condition)
                else:
                    self._conditions.raise_condition(self._condition, owner.refusal)
        finally:
            owner.close()


class _Owner:
    """The partitions of one member, from joining the group to leaving it. What it does not understand ends it: it
    joins again and reads everything anew, and the topic says what is true."""

    def __init__(self, topic: OwnedTopic, name: str, observer: Observer, log: logging.Logger) -> None:
        self._topic = topic
        self._name = name
        self._observer = observer
        self._log = log
        self._partitions: dict[int, _Partition] = {}
        self._wheels: dict[int, Wheel[Scheduled]] = {}
        # Refused events, and when they are tried again.
        self._later: dict[bytes, float] = {}
        self.refusal: str | None = None

    def turn(self) -> None:
        """One round: take what has come, give up what is lost, open what is new, publish what is due."""
        for record in self._topic.poll(self._patience_s()):
            self._take(record)
        for lost in self._partitions.keys() - self._topic.owned:
            self._partitions.pop(lost).producer.close()
        for gone in self._wheels.keys() - self._topic.owned:
            del self._wheels[gone]
        for number in self._topic.owned - self._partitions.keys():
            self._partitions[number] = _Partition(*self._topic.opened(number))
        now_ms = time.time_ns() // 1_000_000
        for number, one in self._partitions.items():
            wheel = self._wheels.get(number)
            if wheel and self._topic.has_read(number, one.end):
                self._publish_due(number, one, wheel, now_ms)

    def close(self) -> None:
        for one in self._partitions.values():
            one.producer.close()
        self._topic.close()

    def _patience_s(self) -> float:
        now_ms = time.time_ns() // 1_000_000
        left = [due - now_ms for wheel in self._wheels.values() if (due := wheel.next_due_ms()) is not None]
        return min(POLL_S, max(0.001, min(left, default=100) / 1000))

    def _take(self, record: Record) -> None:
        wheel = self._wheels.setdefault(record.partition, Wheel())
        if record.key is None:
            return
        if record.value is None:
            self._done(wheel, record.key)
            return
        headers = dict(record.headers)
        try:
            due_ms = int(headers.get(DUE) or b"")
            topic = (headers.get(TARGET_TOPIC) or b"").decode()
        except ValueError:
            self._log.error("%s[%d]@%d is no scheduled event", record.topic, record.partition, record.offset)
            return
        own = [header for header in record.headers if header[0] not in OWN_HEADERS]
        wheel.put(record.key, due_ms, Scheduled(topic, headers.get(TARGET_KEY), record.value, own))

    def _publish_due(self, number: int, one: _Partition, wheel: Wheel[Scheduled], now_ms: int) -> None:
        due = wheel.due(now_ms, BATCH)
        if self._later:
            now = time.monotonic()
            due = [(name, event) for name, event in due if self._later.get(name, 0.0) <= now]
        if not due:
            return
        try:
            self._publish(number, one.producer, due)
        except (PublishError, TransactionAborted) as error:
            if len(due) == 1:
                self._refused(due[0][0], error)
                return
            for name, event in due:  # one of them is at fault: each by itself
                try:
                    self._publish(number, one.producer, [(name, event)])
                except (PublishError, TransactionAborted) as refusal:
                    self._refused(name, refusal)
                else:
                    self._done(wheel, name)
            return
        for name, _ in due:
            self._done(wheel, name)

    def _done(self, wheel: Wheel[Scheduled], name: bytes) -> None:
        wheel.remove(name)
        self._later.pop(name, None)
        if not self._later:
            self.refusal = None

    def _publish(self, number: int, producer: TransactionalProducer, due: list[tuple[bytes, Scheduled]]) -> None:
        with producer.transaction():
            for name, event in due:
                producer.send(event.topic, event.value, key=event.key, headers=event.headers)
                producer.send(self._name, None, key=name, partition=number)
        for _, event in due:
            self._observer.published(event.topic)

    def _refused(self, name: bytes, error: Exception) -> None:
        self._later[name] = time.monotonic() + AGAIN_S
        self.refusal = f"scheduled event {name.decode('utf-8', 'replace')} is not taken, it is tried again: {error}"
        self._log.warning("%s", self.refusal)
