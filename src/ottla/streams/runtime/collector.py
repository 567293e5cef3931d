"""Takes what tasks write, and commits it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from ottla.errors import BrokerUnavailable, KafkaError, PublishError, StreamsFailed, TransactionAborted
from ottla.kafka.stream_producer import StreamProducer
from ottla.kafka.transactions import REFUSALS
from ottla.streams.dead_letter import ORIGIN, dead_letter_headers
from ottla.streams.errors_policy import ErrorHandlers, Failure
from ottla.streams.records import NO_TIMESTAMP, Headers, RawRecord
from ottla.streams.stores.transactional import TransactionalStore

Output = tuple[str, bytes | None, bytes | None]
Place = tuple[str, int]

REFUSED_MAX = 10_000


class Collector:
    """The Sink of all tasks of an instance. Belongs to the stream thread.

    A record that the broker refuses spoils its transaction. Nobody looks at each acknowledgement (that would cost as
    much as sending); after such a failure the same work is done again *carefully*, with a look at each, which finds
    the culprit; when it comes up the third time the production handler is asked what to do with it.

    Its dead letter is the output itself, and not the input it comes from: that has been processed, and is in the
    stores. Sent again, it goes where it was to go. A dead letter that is refused too stops the application.

    Args:
        open_producer: Makes the producer; called again after one was fenced.
        partitions: How many partitions a topic has.
        handlers: What to do with an output that is refused.
        physical: What a topic is called in the cluster, where the user's own code has named it.
        application_id: Who writes the dead letters.
        make_topic: Makes sure that a topic for dead letters is there.
    """

    def __init__(
        self,
        open_producer: Callable[[], StreamProducer],
        partitions: Callable[[str], int],
        handlers: ErrorHandlers,
        physical: Callable[[str], str] = str,
        *,
        application_id: str,
        make_topic: Callable[[str], None],
    ) -> None:
        self._open_producer = open_producer
        self._partitions = partitions
        self._handlers = handlers
        self._physical = lru_cache(10_000)(physical)
        self._application_id = application_id
        self._make_topic = make_topic
        self._log = logging.getLogger("ottla.streams")
        self._producer: StreamProducer | None = None
        self._begun = False
        self._careful = False
        self._refused: dict[Output, str] = {}
        self._acknowledged: dict[Place, int] = {}
        self.sent: Counter[str] = Counter()
        self.left_out = 0

    # ------------------------------------------------------------------ as a Sink

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        headers: Headers | None = None,
        timestamp_ms: int = NO_TIMESTAMP,
        partition: int | None = None,
    ) -> None:
        """Writes one record. Raises StreamsFailed where it is refused and the handler says to stop."""
        topic = self._physical(topic)
        output = topic, key, value
        if self._refused and (reason := self._refused.get(output)) is not None:
            self._refuse(RawRecord(topic, -1, -1, timestamp_ms, key, value, list(headers or ())), PublishError(reason))
            return
        try:
            self._begin().produce(
                topic,
                key,
                value,
                headers=headers,
                timestamp_ms=timestamp_ms,
                partition=-1 if partition is None else partition,
                on_delivery=partial(self._delivered, output) if self._careful else None,
            )
            if self._careful:
                # By itself: a batch is refused as a whole, the innocent with the one to blame.
                self._begin().flush()
        except PublishError as error:
            self._refuse(RawRecord(topic, -1, -1, timestamp_ms, key, value, list(headers or ())), error)
            return
        self.sent[topic] += 1

    def send_many(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        timestamps_ms: Sequence[int],
        headers: Sequence[Headers | None] | None = None,
    ) -> None:
        """Writes many records to one topic, in their order."""
        topic = self._physical(topic)
        if headers is not None or self._careful or self._refused:
            for at, (key, value) in enumerate(zip(keys, values, strict=True)):
                self.send(topic, key, value, headers=headers[at] if headers else None, timestamp_ms=timestamps_ms[at])
            return
        try:
            self._begin().produce_many(topic, keys, values, timestamps_ms)
        except PublishError as error:
            # Which one it was is not known: begin anew, carefully.
            raise TransactionAborted(str(error)) from error
        self.sent[topic] += len(keys)

    def partitions(self, topic: str) -> int:
        """How many partitions a physical topic has."""
        return self._partitions(self._physical(topic))

    # ------------------------------------------------------------------ for the stream thread

    def open(self) -> None:
        """Makes the producer, which fences the one before it. Raises as TransactionalProducer does."""
        if self._producer is None:
            self._producer = self._open_producer()
            self._begun = False

    @property
    def is_open(self) -> bool:
        return self._producer is not None

    @property
    def spoiled(self) -> bool:
        """Whether what was sent since the last commit has failed already."""
        return self._producer is not None and self._producer.must_abort

    def log_changes(self, changelog: Place, store: TransactionalStore) -> bool:
        """Writes a store's changes to its changelog; whether there were any."""
        changes: Mapping[bytes, bytes | None] = store.logged_changes()
        if not changes:
            return False
        producer = self._begin()
        topic, partition = changelog
        keys, values = list(changes), list(changes.values())
        producer.produce_many(topic, keys[:-1], values[:-1], partition=partition)
        self._acknowledged.pop(changelog, None)
        # The last one's offset is the changelog's new end: records of a partition are acknowledged in their order.
        producer.produce(topic, keys[-1], values[-1], partition=partition, on_delivery=self._logged)
        return True

    def logged_up_to(self, changelog: Place) -> int | None:
        """The offset behind what `log_changes` wrote last; None where it is not known."""
        return self._acknowledged.get(changelog)

    def commit(self, offsets: list[Any], group: Callable[[], Any]) -> None:
        """Commits what was sent, together with the offsets where the guarantee asks for that.

        Raises:
            KafkaError: It is not committed, or nobody knows: call `roll_back`.
        """
        producer = self._begin()
        if producer.must_abort:
            raise TransactionAborted("a record of this transaction was refused")
        producer.commit(offsets, group())
        self._begun = False
        self._careful = False

    def roll_back(self, error: KafkaError) -> None:
        """Undoes what was sent since the last commit: lets the producer go. The next one's first step, in `open`,
        aborts what this one left open, or finds that it was committed after all.

        An abort by the producer itself would do in the simple cases. In the others (a batch was refused, sequences
        were lost, nobody knows the outcome) the client library may carry records over into the next transaction, or
        try for as long as its timeout allows; rollbacks are rare, and a new producer costs a tenth of a second.
        """
        self._careful = self._careful or any(word in str(error).lower() for word in REFUSAL_WORDS)
        if len(self._refused) > REFUSED_MAX:
            self._refused.clear()
        producer, self._producer, self._begun = self._producer, None, False
        if producer is not None:
            producer.close()

    def close(self) -> None:
        """Aborts what is open and lets the client go."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            if self._begun:
                try:
                    producer.abort()
                except KafkaError as error:
                    self._log.warning("the last transaction could not be aborted: %s", error)
            producer.close()

    def _begin(self) -> StreamProducer:
        producer = self._producer
        if producer is None:
            raise BrokerUnavailable("there is no producer")
        if not self._begun:
            producer.begin()
            self._begun = True
        return producer

    def _logged(self, error: Any, message: Any) -> None:
        if error is None:
            self._acknowledged[message.topic(), message.partition()] = message.offset() + 1
        elif self._producer is not None:
            self._producer.must_abort = True

    def _delivered(self, output: Output, error: Any, _message: Any) -> None:
        if error is not None:
            if self._producer is not None:
                self._producer.must_abort = True
            if error.name() in REFUSALS:
                self._refused[output] = f"topic {output[0]} refused the record with key {output[1]!r}: {error.str()}"

    def _refuse(self, record: RawRecord, error: PublishError) -> None:
        failure = Failure("production", f"sink of {record.topic}", error, record)
        response = self._handlers.response(failure)
        if response == "fail" or any(name == ORIGIN for name, _ in record.headers):
            raise StreamsFailed(f"production failed: {error}", operator=failure.operator) from error
        self.left_out += 1
        if response == "continue":
            self._log.warning("an output is left out: %s", error)
            return
        self._log.warning("an output goes to the dead letters: %s", error)
        letters = self._handlers.dead_letter_topic(record.topic)
        self._make_topic(self._physical(letters))
        self.send(
            letters,
            record.key,
            record.value,
            headers=dead_letter_headers(record, failure, application_id=self._application_id),
            timestamp_ms=record.timestamp_ms,
        )


REFUSAL_WORDS = ("too large", "refused", "invalid record", "invalid timestamp", "authorization", "unknown partition")
"""How the client library words that a record is refused. Being careful once too often costs a little speed only."""
