"""How far services have come, as the topics and the groups' offsets say it."""

from __future__ import annotations

import struct
import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, cast

from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka import admin as untyped_admin

from ottla import KafkaSettings, OttlaError
from ottla.kafka.admin import Admin
from ottla.kafka.tap import Tap
from ottla.testing import Broker
from tests.contracts.wire import NONE, OFFSET_FETCH, Connection, string

rd = cast(Any, untyped_admin)  # the library's admin module exports its names without types

PATIENCE_S = 120.0
ANSWER_S = 5.0
PARTITIONS = 3

Place = tuple[str, int]


class Progress:
    """Counts what comes out, and asks what is committed. One for all cells of a stage.

    Args:
        broker, settings: Where to ask.
        sinks: The topics whose committed records are counted. They must exist.
    """

    def __init__(self, broker: Broker, settings: KafkaSettings, sinks: Iterable[str]) -> None:
        self._taken: Counter[str] = Counter()
        self._sinks = list(sinks)
        self._broker = broker
        self._admin = Admin(settings)
        self._tap = Tap(settings)
        self._client = rd.AdminClient({"bootstrap.servers": settings.bootstrap_servers, "log_level": 2})
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.bootstrap_servers,
                "group.id": "nobody",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "reconnect.backoff.max.ms": 1000,
            }
        )
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._consumer.close()
        self._tap.close()

    def taken(self, sink: str) -> int:
        """The committed records that were seen there so far."""
        return self._taken[sink]

    def _count(self) -> None:
        self._consumer.assign([TopicPartition(sink, place, 0) for sink in self._sinks for place in range(PARTITIONS)])
        while not self._closed.is_set():
            for message in self._consumer.consume(1000, 0.1):
                if message.error() is None:
                    self._taken[message.topic() or ""] += 1

    # ------------------------------------------------------------------ what is committed

    def wait_for_the_end(self, group: str, source: str, sink: str) -> None:
        """Waits until the group has committed all that was given, and all that lay in retry topics."""
        pause_s, deadline = 0.1, time.monotonic() + PATIENCE_S
        while (missing := self._missing(group, source, sink)) is not None:
            assert time.monotonic() < deadline, missing
            time.sleep(pause_s)
            pause_s = min(0.5, pause_s * 1.5)

    def _missing(self, group: str, source: str, sink: str) -> str | None:
        """What the group has not come to the end of, in words."""
        try:
            committed = self._committed(group)
            topics = self._admin.topics()
            own = [name for name in topics if name == source or name.startswith(f"{source}-retry-")]
            ends = self._admin.end_offsets(own)
            late = {place: committed.get(place, 0) for place, end in ends.items() if committed.get(place, 0) < end}
            # What a killed member left open holds readers of committed records up, until the broker has aborted it.
            # The ends of what is written in transactions are markers and aborted records, which nobody commits.
            if self._stable([sink, *own]) and not self._tap.read(late):
                return None
        except (OttlaError, KafkaException) as error:  # what it knows of the cluster is from before the broker's end
            return f"the ends of {source} cannot be read: {error}"
        return f"the group stands at {committed}, the ends are {ends}"

    def _committed(self, group: str) -> dict[Place, int]:
        """By the protocol itself: the client library's admin client may hang, or abort the process, where a broker is
        killed while it asks a coordinator."""
        try:
            with Connection(self._broker, timeout_s=ANSWER_S) as connection:
                answer = connection.ask(OFFSET_FETCH, 5, string(group) + struct.pack(">i", -1))
        except OSError:
            return {}  # not there yet
        answer.int32()  # throttle time
        found: dict[Place, int] = {}
        for _ in range(answer.int32()):
            topic = answer.string() or ""
            for _ in range(answer.int32()):
                partition, offset = answer.int32(), answer.int64()
                answer.int32(), answer.string()  # leader epoch, metadata
                assert answer.int16() == NONE
                found[topic, partition] = offset
        # One that has just started may be looking for its groups still.
        return {place: offset for place, offset in found.items() if offset >= 0} if answer.int16() == NONE else {}

    def _stable(self, topics: list[str]) -> bool:
        """Whether no transaction is open there."""
        return self._ends(topics, IsolationLevel.READ_COMMITTED) == self._ends(topics, IsolationLevel.READ_UNCOMMITTED)

    def _ends(self, topics: list[str], level: IsolationLevel) -> dict[Place, int]:
        asked = {
            TopicPartition(topic, place): rd.OffsetSpec.latest() for topic in topics for place in range(PARTITIONS)
        }
        self._client.list_topics(timeout=ANSWER_S)  # else it asks for the leaders that were
        answers = self._client.list_offsets(asked, isolation_level=level)
        return {(place.topic, place.partition): answer.result().offset for place, answer in answers.items()}

    def dead_letters(self, source: str) -> int:
        return sum(self._admin.end_offsets([f"{source}-dlq"]).values())
