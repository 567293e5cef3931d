"""What a task gives its operators: stores, time, the input record, and what to do with failures."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ottla.errors import StreamsError, StreamsFailed
from ottla.streams.dead_letter import dead_letter_headers
from ottla.streams.errors_policy import ErrorHandlers, Failure, Stage
from ottla.streams.operators.batch import Batch
from ottla.streams.records import NO_TIMESTAMP, Headers, RawBatch, RawRecord, RecordMetadata
from ottla.streams.serdes import Codecs

if TYPE_CHECKING:
    from ottla.streams.operators.base import Operator
    from ottla.streams.punctuation import Punctuations
    from ottla.streams.topology.topology import Topology

logger = logging.getLogger("ottla.streams")


class Sink(Protocol):
    """Where a task's outputs go.

    Contract: called by the thread that runs the task, in order; may block for backpressure. What it raises ends the
    task. A failure that shows later (the broker refuses the record) is the runtime's to handle.
    """

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
        """Writes one record. `topic` is physical. Without a partition the key's murmur2 hash chooses."""
        ...

    def send_many(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        timestamps_ms: Sequence[int],
        headers: Sequence[Headers | None] | None = None,
    ) -> None:
        """Writes many records to one topic, in their order."""
        ...

    def partitions(self, topic: str) -> int:
        """How many partitions a physical topic has."""
        ...


class Clock(Protocol):
    """The wall clock."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        ...


@dataclass
class TaskCounters:
    """What happened, for metrics.

    Attributes:
        processed: Input records.
        dropped: Records left out, by operator and reason (`null-key`, `null-value`, `late`, `failed`, `undecodable`,
            `buffer-full`).
        dead_letters: Records written to dead-letter topics.
    """

    processed: int = 0
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    dead_letters: int = 0


class TaskContext:
    """The state that a task's operators share.

    Attributes:
        input: The records that are being processed; None between them.
        stream_time_ms: The highest timestamp this task has seen; -1 at first.
        times: Stream times that operators keep for themselves, by their names: part of the task's snapshot.
        held: Operators that are not ready for records yet, by their names: while there is one, the task is given none.
            It still punctuates and commits.
    """

    def __init__(
        self,
        topology: Topology,
        task_name: str,
        partition: int,
        sink: Sink,
        clock: Clock,
        codecs: Codecs | None,
        handlers: ErrorHandlers,
        cache_entries_max: int,
        punctuations: Punctuations,
    ) -> None:
        self.topology = topology
        self.task_name = task_name
        self.partition = partition
        self.sink = sink
        self.clock = clock
        self.codecs = codecs
        self.handlers = handlers
        self.cache_entries_max = cache_entries_max
        self.punctuations = punctuations
        self.counters = TaskCounters()
        self.stores: dict[str, Any] = {}
        self.input: RawBatch | None = None
        self.stream_time_ms = NO_TIMESTAMP
        self.times: dict[str, int] = {}
        self.held: set[str] = set()

    def store(self, name: str) -> Any:
        """A typed store of this task."""
        return self.stores[name]

    def metadata(self, batch: Batch, index: int) -> RecordMetadata | None:
        """Where a record came from; None if it comes from no input record."""
        if self.input is None or batch.rows is None:
            return None
        row = batch.rows[index]
        return RecordMetadata(self.input.topic, self.input.partition, self.input.offsets[row])

    def drop(self, operator: Operator, reason: str, count: int = 1) -> None:
        """Counts records that are left out."""
        if count:
            self.counters.dropped[operator.name, reason] += count

    def failed(
        self, operator: Operator, batch: Batch, index: int, error: Exception, stage: Stage = "processing"
    ) -> None:
        """Decides about a record that failed: returns if it is to be left out.

        Raises:
            StreamsFailed: The application is to stop.
        """
        row = None if self.input is None or batch.rows is None else batch.rows[index]
        record = None if row is None or self.input is None else self.input.record(row)
        self.failure(Failure(stage, operator.name, error, record))

    def failure(self, failure: Failure) -> None:
        """The same for a failure that is described already."""
        if isinstance(failure.error, StreamsError):
            raise failure.error  # of the application or its stores, and not because of the record
        record, error = failure.record, failure.error
        response = self.handlers.response(failure)
        where = (
            "" if record is None else f" (topic {record.topic}, partition {record.partition}, offset {record.offset})"
        )
        reason = "undecodable" if failure.stage == "decode" else "failed"
        if response == "fail" or (response == "dead-letter" and record is None):
            raise StreamsFailed(
                f"{failure.stage} failed: {type(error).__name__}: {error}",
                operator=failure.operator,
                **({} if record is None else _place(record)),
            ) from error
        self.counters.dropped[failure.operator, reason] += 1
        logger.warning(
            "operator %s: %s failed%s: %s: %s; %s",
            failure.operator,
            failure.stage,
            where,
            type(error).__name__,
            error,
            "the record is left out" if response == "continue" else "the record goes to the dead letters",
        )
        if response == "dead-letter" and record is not None:
            self.bury(record, failure)

    def bury(self, record: RawRecord, failure: Failure) -> None:
        """Writes a dead letter."""
        self.counters.dead_letters += 1
        self.sink.send(
            self.handlers.dead_letter_topic(record.topic),
            record.key,
            record.value,
            headers=dead_letter_headers(record, failure, application_id=self.topology.application_id),
            timestamp_ms=record.timestamp_ms,
        )

    def schedule(
        self, operator: Operator, interval_ms: int, kind: str, callback: Callable[[int], None]
    ) -> Callable[[], None]:
        """Calls back at intervals; gives a function that stops it."""
        return self.punctuations.schedule(operator, interval_ms, kind, callback, self.clock.now_ms())


def _place(record: RawRecord) -> dict[str, Any]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}
