"""What instances tell one another: who runs which task, and where each serves HTTP.

The group knows, but asking it is not for a service: the client library's admin requests to coordinators abort the
process when a broker goes at the wrong moment (librdkafka issues 3663 and 4605). So each instance writes a record to
the application's metadata topic, when something has changed and every few seconds, and reads those of the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from ottla.errors import KafkaError
from ottla.kafka.reader import read_topic
from ottla.kafka.stream_clients import OFFSET_BEGINNING, TopicPartition, fetch_also, restoring_consumer
from ottla.kafka.stream_producer import AtLeastOnceProducer
from ottla.settings import KafkaSettings
from ottla.streams.runtime.stored_topology import metadata_topic

BEAT_S = 3.0
EXPIRY_S = 10.0
KEY_PREFIX = b"instance:"


class Member(msgspec.Struct, frozen=True):
    """An instance, as it shows itself to the others.

    Attributes:
        member_id: What the group calls it.
        address: `host:port` of its HTTP; None if it serves none.
        tokens: What it is assigned.
    """

    instance_id: str
    member_id: str
    address: str | None
    tokens: tuple[int, ...]


class Roster:
    """The latest word of each instance. Not thread-safe."""

    def __init__(self) -> None:
        self._told: dict[bytes, tuple[int, Member]] = {}

    def hear(self, key: bytes, value: bytes | None, told_ms: int) -> None:
        """Takes a record; None says that an instance has stopped."""
        if not key.startswith(KEY_PREFIX):
            return
        if value is None:
            self._told.pop(key, None)
            return
        try:
            self._told[key] = told_ms, msgspec.json.decode(value, type=Member)
        except msgspec.DecodeError:
            self._told.pop(key, None)

    def members(self, now_ms: float) -> list[Member]:
        """Those heard of lately. A token that two claim is the later one's: the other has died, or will soon say so."""
        claimed: set[int] = set()
        found = []
        for told_ms, member in sorted(self._told.values(), key=lambda one: one[0], reverse=True):
            if now_ms - told_ms > EXPIRY_S * 1000:
                continue
            found.append(msgspec.structs.replace(member, tokens=tuple(t for t in member.tokens if t not in claimed)))
            claimed.update(member.tokens)
        return found


class GroupView:
    """The instances of an application, as they show themselves. Thread-safe.

    Args:
        settings: Where the brokers are.
        application_id: The application.
        myself: What this instance says of itself; None while there is nothing to say. Called on another thread.
    """

    def __init__(self, settings: KafkaSettings, application_id: str, myself: Callable[[], Member | None]) -> None:
        self._settings = settings
        self._application_id = application_id
        self._topic = metadata_topic(application_id)
        self._myself = myself
        self._log = logging.getLogger("ottla.streams")
        self._roster = Roster()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ottla-streams-group", daemon=True)
        self._said: Member | None = None
        self._next_beat = 0.0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Tells the others, and ends."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(10)

    def members(self) -> list[Member]:
        """The instances heard of lately."""
        with self._lock:
            return self._roster.members(time.time() * 1000)

    def _run(self) -> None:
        producer = AtLeastOnceProducer(self._settings, self._application_id)
        consumer = restoring_consumer(
            self._settings,
            group=self._application_id,
            client_id=self._application_id,
            on_error=lambda _error: None,
        )
        try:
            fetch_also(consumer, [TopicPartition(self._topic, 0, OFFSET_BEGINNING)], set())
            while not self._stop.is_set():
                self._hear(consumer)
                self._tell(producer)
            if self._said is not None:
                producer.produce(self._topic, KEY_PREFIX + self._said.instance_id.encode(), None)
                producer.abort()  # which waits for a second, and no longer: it is a courtesy
        except Exception as error:
            self._log.warning("the view of the other instances has ended: %s", error, exc_info=error)
        finally:
            consumer.close()
            producer.close()

    def _hear(self, consumer: Any) -> None:
        first = consumer.poll(0.1)
        if first is None:
            return
        messages = [first, *consumer.consume(1000, 0)]
        with self._lock:
            for message in messages:
                if message.error() is None and message.key() is not None:
                    self._roster.hear(message.key(), message.value(), message.timestamp()[1])

    def _tell(self, producer: AtLeastOnceProducer) -> None:
        me, now = self._myself(), time.monotonic()
        if me is None or (me == self._said and now < self._next_beat):
            return
        self._said, self._next_beat = me, now + BEAT_S
        try:
            producer.produce(self._topic, KEY_PREFIX + me.instance_id.encode(), msgspec.json.encode(me))
        except KafkaError as error:
            self._log.warning("could not tell the other instances of this one: %s", error)


def running_members(settings: KafkaSettings, application_id: str) -> list[Member]:
    """The same for a tool: read once.

    Raises:
        BrokerUnavailable, KafkaError: They cannot be read; there is no such application.
    """
    roster = Roster()
    for record in read_topic(settings, metadata_topic(application_id)):
        if record.key is not None:
            roster.hear(record.key, record.value, record.timestamp_ms)
    return roster.members(time.time() * 1000)
