"""States made anew from the events: where the store is empty, or was written by other code.

A task whose states are not this code's holds back its commands and replays its partition of the event topic, some
thousand events at a time, between the work of the other tasks. What has been made, and up to which offset, is committed
like everything else in the store, so after a crash it goes on where it was. Nobody adds events meanwhile: only this
task's commands do, and what a predecessor left open in a transaction is waited for (or undone by the broker).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, cast

from ottla.errors import DecodeError, HistoryBroken
from ottla.eventsourcing.aggregate import Aggregate
from ottla.eventsourcing.answers import VERSION, number_in
from ottla.eventsourcing.event_log import EventLog
from ottla.eventsourcing.states import Held, States
from ottla.kafka.record import Record
from ottla.streams.operators.base import Operator
from ottla.streams.punctuation import WALL_CLOCK
from ottla.streams.serdes import Serde

CHUNK = 2_000
"""Events of one step: some ten milliseconds, for which other tasks wait."""


class Replay:
    """Makes the states of one task's partition. Belongs to the stream thread.

    Args:
        operator: Whose commands wait.
        aggregate, states: What is made, and where.
        event_log: Where the events are.
        events: Reads them.
        topic: Theirs, as in the cluster.
    """

    def __init__(
        self,
        operator: Operator,
        aggregate: Aggregate[Any],
        states: States[Any],
        event_log: EventLog,
        events: Serde[Any],
        topic: str,
    ) -> None:
        self._operator = operator
        self._aggregate = aggregate
        self._states = states
        self._log = event_log
        self._events = events
        self._topic = topic
        self._partition = operator.context.partition
        self._records: Iterator[Record] | None = None

    def begin(self) -> None:
        """Holds the commands back, and goes on by itself from here."""
        context = self._operator.context
        context.held.add(self._operator.name)
        self._cancel = context.schedule(self._operator, 1, WALL_CLOCK, lambda _now_ms: self._step())

    def close(self) -> None:
        """Lets go of the connection."""
        if self._records is not None:
            with suppress(AttributeError):
                cast(Generator[Record], self._records).close()
            self._records = None

    def _step(self) -> None:
        if self._records is None:
            self._open()
            assert self._records is not None
        chunk = list(islice(self._records, CHUNK))
        held: dict[str, Held[Any]] = {}
        for record in chunk:
            self._replay(record, held)
        for key, one in held.items():
            self._states.write(key, one)
        finished = len(chunk) < CHUNK
        position = self._end if finished else chunk[-1].offset + 1
        self._states.note(position, finished=finished)
        self._log.replaying(self._aggregate.name, self._partition, position, self._end)
        if finished:
            self._cancel()
            self.close()
            self._operator.context.held.discard(self._operator.name)

    def _open(self) -> None:
        known = self._states.progress()
        start = known.version if known is not None and known.schema == self._aggregate.form.schema else 0
        self._end = self._log.end(self._topic, self._partition)
        self._log.replaying(self._aggregate.name, self._partition, start, self._end)
        read = start < self._end
        self._records = self._log.read(self._topic, self._partition, start, self._end) if read else iter(())

    def _replay(self, record: Record, held: dict[str, Held[Any]]) -> None:
        where = f"topic {record.topic}, partition {record.partition}, offset {record.offset}"
        event, number = decoded_event(record, self._events)
        if event is None:
            return
        key = (record.key or b"").decode("utf-8", "replace")
        have = held.get(key) or self._states.load_replayed(key)
        number = have.version + 1 if number is None else number
        if number <= have.version:
            return
        if number > have.version + 1:
            raise HistoryBroken(
                f"{self._aggregate.name} {key}: after event {have.version} comes event {number} ({where}): those in "
                "between are gone. An event topic must keep everything (retention.ms=-1, cleanup.policy=delete)"
            )
        try:
            state = self._aggregate.apply(have.state, event)
        except HistoryBroken:
            raise
        except Exception as error:
            raise HistoryBroken(f"{where}: {type(event).__qualname__} cannot be applied: {error!r}") from error
        since_ms = have.since_ms if have.version else (record.timestamp_ms or 0)
        held[key] = Held(number, state, since_ms, number)


def decoded_event(record: Record, events: Serde[Any]) -> tuple[Any, int | None]:
    """The event of a record, and its number; None where it is none of the aggregate's types.

    Raises:
        HistoryBroken: It cannot be read.
    """
    where = f"topic {record.topic}, partition {record.partition}, offset {record.offset}"
    if record.value is None:
        return None, None
    try:
        # A schema may be named by a header.
        (value,) = events.framed([record.value], [record.headers or None])  # type: ignore[attr-defined]
        others = events.others([value])  # type: ignore[attr-defined]
        if others and others[0]:
            return None, None
        return events.decode(value, record.topic), number_in(record.headers, VERSION)
    except DecodeError as error:
        raise HistoryBroken(f"{where}: the event cannot be read: {error}") from error
