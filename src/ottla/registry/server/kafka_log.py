"""The schema log in a Kafka topic: one partition, compacted."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from ...errors import KafkaError, OttlaError, PublishError
from ...kafka.admin import Admin
from ...kafka.producer import Producer
from ...kafka.reader import TopicReader
from ...kafka.record import Record
from ...settings import KafkaSettings
from .log import EntryTooLarge, LogReader, LogUnavailable
from .records import Entry
from .store import complain

CONNECT_TIMEOUT_S = 3.0
RETRY_DELAY_S = 0.2
LEADER = "ottla-leader"


class _Batch:
    """Entries on their way: how many are not yet acknowledged, the highest offset so far, the first refusal."""

    def __init__(self, size: int, floor: int) -> None:
        self.floor = floor  # what was read before: a lower offset means that the topic is not the same any more
        self._lock = threading.Lock()
        self._open = size
        self.offset = -1
        self.refusal: str | None = None
        self.done = threading.Event()

    def delivered(self, error: Any, message: Any) -> None:
        """Called on the producer's thread, once per entry."""
        if error is None:
            self.offset = max(self.offset, message.offset())
        self.settled(1, None if error is None else str(error))

    def settled(self, count: int, refusal: str | None) -> None:
        """`count` more entries are acknowledged or refused."""
        with self._lock:
            self.refusal = self.refusal or refusal
            self._open -= count
            if self._open == 0:
                self.done.set()


class KafkaLog:
    """Implements `SchemaLog` on a topic.

    One thread reads, for ever. Where the broker is away, at the start or later, it says so on stderr, tries again
    until it is back, and reads the topic again from its beginning.

    An append whose acknowledgement is late stays with the producer, which delivers it once, in order, however long
    the broker is away; `settle` waits for it. So nothing is decided while a write is in doubt:

        write A (id 5) -> broker dies -> A answered 50002 -> write B -> settle waits for A -> A is applied -> B gets 6
    """

    def __init__(self, settings: KafkaSettings, topic: str, *, replication: int = -1, timeout_s: float = 4.0) -> None:
        self._settings = settings
        self._topic = topic
        self._replication = replication
        self._timeout_s = timeout_s
        self._stopping = threading.Event()
        self._moved = threading.Condition()
        self._next_offset = 0  # what the state in force has applied, exclusive
        self._following = False  # the reader has caught up and follows
        self._reopen = False
        self._trouble: str | None = "connecting"
        self._pending: _Batch | None = None
        self._producer: Producer | None = None
        self._admin: Admin | None = None

    def start(self, reader: LogReader) -> None:
        threading.Thread(target=self._read, args=(reader,), name="schema-log", daemon=True).start()

    def problem(self) -> str | None:
        pending = self._pending
        if self._trouble is None and pending is not None and not pending.done.is_set():
            return f"topic {self._topic}: writes are not acknowledged by {self._settings.bootstrap_servers}"
        return self._trouble

    def append(self, entries: Sequence[Entry]) -> None:
        producer = self._ready_producer()
        batch = _Batch(len(entries), self._next_offset)
        self._pending = batch
        for index, entry in enumerate(entries):
            try:
                leader = None if entry.leader is None else entry.leader.encode()
                producer.send(
                    self._topic,
                    entry.value,
                    key=entry.key,
                    headers=[(LEADER, leader)],
                    partition=0,
                    on_delivery=batch.delivered,
                )
            except PublishError as error:
                batch.settled(len(entries) - index, str(error))  # this one and those after it never left
                break
        self.settle()

    def settle(self) -> None:
        deadline = time.monotonic() + self._timeout_s
        pending = self._pending
        if pending is not None and not pending.done.wait(self._timeout_s):
            raise self._late("the write is not acknowledged yet")
        refusal = pending.refusal if pending is not None else None
        if pending is not None and refusal is None and pending.done.is_set() and 0 <= pending.offset < pending.floor:
            refusal = f"it was deleted and made again: a write after offset {pending.floor} went to {pending.offset}"
        if refusal is not None:
            self._pending = None
            if "SIZE_TOO_LARGE" in refusal:
                raise EntryTooLarge(refusal)
            # Something is wrong with the topic: it is opened and read again before anything else is decided.
            self._ask_to_reopen()
            raise LogUnavailable(f"topic {self._topic}: {refusal}", timed_out=False)
        offset = pending.offset if pending is not None else -1
        with self._moved:
            applied = self._moved.wait_for(
                lambda: self._stopping.is_set() or (self._following and self._next_offset > offset),
                max(0.0, deadline - time.monotonic()),
            )
        if self._stopping.is_set():
            raise LogUnavailable("the registry is stopping, and the write is not confirmed", timed_out=False)
        if not applied:
            raise self._late("the topic is not read up to the last write yet")
        self._pending = None

    def position(self) -> int:
        return self._next_offset

    def wait_for(self, position: int, timeout_s: float) -> bool:
        with self._moved:
            return self._moved.wait_for(
                lambda: self._stopping.is_set() or (self._following and self._next_offset >= position),
                max(0.0, timeout_s),
            )

    def end(self, timeout_s: float) -> int | None:
        try:
            if self._admin is None:
                self._admin = Admin(self._settings, timeout_s=timeout_s)
            return self._admin.end_offsets([self._topic]).get((self._topic, 0))
        except KafkaError:
            return None

    def stop_waiting(self) -> None:
        self._stopping.set()
        pending = self._pending
        if pending is not None:
            pending.done.set()
        with self._moved:
            self._moved.notify_all()

    def close(self) -> None:
        self.stop_waiting()
        if self._producer is not None:
            self._producer.close(0.3)

    def _ready_producer(self) -> Producer:
        with self._moved:
            if self._producer is None or self._producer.fatal is not None:
                # A deleted topic must not come back by itself: the broker would make it without compaction.
                self._producer = Producer(
                    self._settings, linger_ms=0, client_id="ottla-registry", allow_auto_create_topics=False
                )
            return self._producer

    def _late(self, what: str) -> LogUnavailable:
        return LogUnavailable(
            f"topic {self._topic} at {self._settings.bootstrap_servers}: {what} after {self._timeout_s:g} s. "
            f"Registering the same schema again is safe",
            timed_out=True,
        )

    def _ask_to_reopen(self) -> None:
        with self._moved:
            self._reopen = True
            self._following = False

    def _read(self, reader: LogReader) -> None:
        """The reading thread."""
        while not self._stopping.is_set():
            try:
                self._read_until_trouble(reader)
            except KafkaError as error:
                self._wait_and_retry(error)

    def _read_until_trouble(self, reader: LogReader) -> None:
        self._prepare_topic()
        with TopicReader(self._settings, self._topic, timeout_s=CONNECT_TIMEOUT_S) as topic:
            if len(topic.partitions) != 1:
                raise KafkaError(
                    f"topic {self._topic} has {len(topic.partitions)} partitions, but schemas need their order: "
                    f"choose another topic with --topic"
                )
            self._ready_producer()  # it takes a second to get its producer id: not in the first client's time
            self._reopen = False
            reader.restart()
            position, caught_up = 0, False
            # Where others go on writing, the end is never seen: having read what was there now is enough.
            end = self.end(CONNECT_TIMEOUT_S)
            for record in topic.until_end():
                position = self._apply(reader, record)
                if not caught_up and end is not None and position >= end:
                    reader.caught_up()
                    caught_up = True
                if caught_up:
                    self._moved_to(position, following=True)
            if not caught_up:
                reader.caught_up()
            self._moved_to(position, following=True)
            while not self._stopping.is_set() and not self._reopen:
                for record in topic.follow(0.25):
                    self._moved_to(self._apply(reader, record), following=True)

    def _prepare_topic(self) -> None:
        admin = Admin(self._settings, timeout_s=CONNECT_TIMEOUT_S)
        wanted = {"cleanup.policy": "compact"}
        if not admin.ensure_topics({self._topic: 1}, replication=self._replication, config=wanted):
            policy = admin.describe_topic(self._topic).config.get("cleanup.policy", "compact")
            if policy != "compact":
                raise KafkaError(
                    f"topic {self._topic} has cleanup.policy={policy}, which deletes schemas after a while: "
                    f"set it to compact, or choose another topic with --topic"
                )

    def _apply(self, reader: LogReader, record: Record) -> int:
        if record.key is None:
            complain(f"topic {self._topic}, offset {record.offset} is passed over: it has no key")
        else:
            leader = next((value for name, value in record.headers if name == LEADER and value is not None), None)
            token = None if leader is None else leader.decode("ascii", "replace")
            reader.apply(Entry(record.key, record.value, token), record.offset)
        return record.offset + 1

    def _moved_to(self, position: int, *, following: bool) -> None:
        if self._trouble is not None:
            if self._trouble != "connecting":
                complain(f"the broker at {self._settings.bootstrap_servers} is back, {position} records read")
            self._trouble = None
        with self._moved:
            self._next_offset = position
            self._following = following and not self._reopen
            self._moved.notify_all()

    def _wait_and_retry(self, error: OttlaError) -> None:
        with self._moved:
            self._following = False
        if self._trouble is None or self._trouble == "connecting":
            complain(f"waiting for Kafka at {self._settings.bootstrap_servers}: {error}")
        self._trouble = f"waiting for Kafka: {error}"
        self._stopping.wait(RETRY_DELAY_S)
