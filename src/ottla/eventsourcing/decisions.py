"""The operator that decides: one command after the other against the aggregate's state, all in the task's transaction.

A command's events, the state they make, the answer and the note that the command was seen are committed together, with
the command's offset. So whatever crashes, one command has its events once; and a command that is sent again, under the
id it had, finds the note and is answered as before.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, NamedTuple

from ottla.errors import DecodeError, KafkaError, Refused, RegistryUnavailable, StreamsError
from ottla.events.declaration import event_type
from ottla.events.envelope import EnvelopeWriter, read_flow, time_now
from ottla.events.ids import derived_event_id
from ottla.eventsourcing.aggregate import Aggregate, key_text
from ottla.eventsourcing.answers import CONFLICT, EXPECTED_VERSION, VERSION, Decided, number_in
from ottla.eventsourcing.event_log import EventLog
from ottla.eventsourcing.replay import Replay
from ottla.eventsourcing.states import Held, States, store_names
from ottla.listeners.outputs import Outgoing
from ottla.listeners.replies import FAILURE, FAILURE_MESSAGE, MESSAGE_BYTES_MAX, ReplyAddress, reply_address
from ottla.streams.context import TaskContext
from ottla.streams.event_serde import EventSerde
from ottla.streams.operators.base import Operator
from ottla.streams.operators.batch import Batch
from ottla.streams.records import Headers
from ottla.streams.serdes import Serde

log = logging.getLogger("ottla.eventsourcing")


class _Command(NamedTuple):
    """A command that is being decided."""

    key: str
    value: Any
    headers: Headers | None
    timestamp_ms: int
    id: str
    correlation_id: str


class _Outputs:
    """The events of a batch of commands."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.values: list[bytes] = []
        self.timestamps: list[int] = []
        self.headers: list[Headers | None] = []
        self.rows: list[int] = []

    def batch(self, rows: Any) -> Batch:
        return Batch(
            self.keys,
            self.values,
            self.timestamps,
            self.headers,
            None if rows is None else [rows[index] for index in self.rows],
        )


class Decisions(Operator):
    """Commands in, encoded events out; answers go where each command asks for them.

    Args:
        aggregate: What decides.
        event_log: The cluster; None in a test driver, where nobody is missing and states need not be made anew.
        outcomes: Counts commands by `accepted`, `refused`, `conflict`, `repeated`, `failed`.
    """

    def __init__(self, aggregate: Aggregate[Any], event_log: EventLog | None, outcomes: Counter[str]) -> None:
        self._aggregate = aggregate
        self._log = event_log
        self._outcomes = outcomes
        self._replay: Replay | None = None

    def start(self, context: TaskContext) -> None:
        super().start(context)
        aggregate = self._aggregate
        snapshots, commands, tail = store_names(aggregate)
        self._states: States[Any] = States(aggregate, context.store(snapshots), context.stores.get(tail))
        self._remembered = context.store(commands)
        self._keep_ms = int(aggregate.remember.total_seconds() * 1000)
        self._events: Serde[Any] = EventSerde(*aggregate.events).bind(context.codecs)
        self._topic = context.topology.physical(aggregate.event_topic)
        source = f"/{context.topology.application_id}"
        assert context.codecs is not None
        serializer = context.codecs.serializer
        self._envelopes = {
            cls: EnvelopeWriter(event_type(cls).name, source, serializer.content_type(cls)) for cls in aggregate.events
        }
        if self._log is not None and not self._states.is_current():
            self._replay = Replay(self, aggregate, self._states, self._log, self._events, self._topic)
            self._replay.begin()

    def process(self, batch: Batch) -> None:
        outputs = _Outputs()
        for index in range(len(batch)):
            try:
                self._take(batch, index, outputs)
            except (KafkaError, RegistryUnavailable, StreamsError):
                raise  # no command's fault: all of them wait
            except Exception as error:
                self._outcomes["failed"] += 1
                self._tell_failure(batch, index, error)
                self.context.failed(self, batch, index, error)
        self.forward(outputs.batch(batch.rows))

    # -- one command -----------------------------------------------------------------------------------------------

    def _take(self, batch: Batch, index: int, outputs: _Outputs) -> None:
        command = self._command(batch, index)
        name = f"{command.key}\0{command.id}"
        now_ms = self.context.clock.now_ms()
        answer: Decided | None = None
        for _, found in self._remembered.fetch_range(name, now_ms - self._keep_ms, now_ms + self._keep_ms):
            answer = found.value
        if answer is None:
            answer = self._decide(command, index, outputs)
            self._remembered.put(name, answer, now_ms)
        else:
            self._outcomes["repeated"] += 1
        address = reply_address(command.headers)
        if address is not None:
            self._reply(address, command, answer)
        elif answer.refusal is not None:
            log.info("%s %s: %s, and nobody asked", answer.aggregate, answer.key, answer.message)

    def _command(self, batch: Batch, index: int) -> _Command:
        key, value, headers = batch.keys[index], batch.whole[index], batch.header(index)
        if value is None or key != key_text(value):
            told = "nothing" if value is None else f"a {type(value).__qualname__} for {key_text(value)}"
            raise DecodeError(f"a command's record has the key of its aggregate; this one has {key!r}, and {told}")
        flow = read_flow(headers)
        if flow is None:
            place = self.context.metadata(batch, index)
            flow = (f"{place.topic}-{place.partition}-{place.offset}" if place else f"{index}",) * 2
        return _Command(key, value, headers, batch.timestamps[index], *flow)

    def _decide(self, command: _Command, index: int, outputs: _Outputs) -> Decided:
        aggregate = self._aggregate
        before = self._states.load(command.key)
        expected = number_in(command.headers, EXPECTED_VERSION)
        if expected is not None and expected != before.version:
            self._outcomes["conflict"] += 1
            message = f"version {expected} was expected"
            return Decided(aggregate.name, command.key, before.version, (), CONFLICT, message, expected)
        try:
            events = aggregate.decide(before.state, command.value)
        except Refused as refusal:
            self._outcomes["refused"] += 1
            return Decided(aggregate.name, command.key, before.version, (), refusal.kind, str(refusal))
        if events:
            # Everything that may fail because of what the command gave comes before anything is written.
            encoded = [self._events.encode(event, self._topic) for event in events]
            # As they will be read: what writing rounds (decimals, times) is round in the state too, now as in a replay.
            events = [self._events.decode(data, self._topic) for data in encoded]
            state = aggregate.replay(events, before.state)
            since_ms = before.since_ms if before.version else command.timestamp_ms
            after = Held(before.version + len(events), state, since_ms, before.written)
            self._states.save(command.key, before, events, after)
            self._write(command, events, encoded, before.version, index, outputs)
        self._outcomes["accepted"] += 1
        names = tuple(event_type(event).name for event in events)
        return Decided(aggregate.name, command.key, before.version + len(events), names)

    def _write(
        self, command: _Command, events: list[Any], encoded: list[bytes], version: int, index: int, outputs: _Outputs
    ) -> None:
        time = time_now()
        for number, (event, data) in enumerate(zip(events, encoded, strict=True), version + 1):
            # The same again if the work is done again after a crash: the command decides, and its version.
            event_id = derived_event_id(command.id, self._aggregate.name, command.key, str(number))
            headers = self._envelopes[type(event)].headers(event_id, command.correlation_id, command.id, time)
            headers.append((VERSION, b"%d" % number))
            outputs.keys.append(command.key)
            outputs.values.append(data)
            outputs.timestamps.append(command.timestamp_ms)
            outputs.headers.append(headers)
            outputs.rows.append(index)

    # -- answers ---------------------------------------------------------------------------------------------------

    def _reply(self, address: ReplyAddress, command: _Command, answer: Decided) -> None:
        headers: Headers = [
            ("content-type", b"application/json"),
            ("ce_id", derived_event_id(command.id, "answer").encode()),
            ("ce_correlationid", command.correlation_id.encode()),
        ]
        if answer.refusal is not None:
            headers += [(FAILURE, answer.refusal.encode()), (FAILURE_MESSAGE, _shortened(answer.message))]
        self._send(address, command.key, answer.json(), headers, command.timestamp_ms)

    def _tell_failure(self, batch: Batch, index: int, error: Exception) -> None:
        address = reply_address(batch.header(index))
        if address is not None:
            kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
            headers: Headers = [(FAILURE, kind.encode()), (FAILURE_MESSAGE, _shortened(str(error)))]
            self._send(address, batch.keys[index], None, headers, batch.timestamps[index])

    def _send(
        self, address: ReplyAddress, key: str | None, value: bytes | None, headers: Headers, timestamp_ms: int
    ) -> None:
        """An address that is none must not spoil the transaction for all others."""
        if self._log is not None:
            count = self._log.partitions(address.topic)
            if address.partition >= count or address.partition < -1 or count == 0:
                log.warning(
                    "an answer cannot be given: topic %s has %d partitions, and partition %d is asked for",
                    address.topic, count, address.partition,
                )  # fmt: skip
                return
        answer = address.addressed(Outgoing(address.topic, None if key is None else key.encode(), value, headers))
        self.context.sink.send(
            answer.topic,
            answer.key,
            answer.value,
            headers=answer.headers,
            timestamp_ms=timestamp_ms,
            partition=None if answer.partition < 0 else answer.partition,
        )

    def close(self) -> None:
        if self._replay is not None:
            self._replay.close()


def _shortened(message: str) -> bytes:
    return message.encode("utf-8", "replace")[:MESSAGE_BYTES_MAX]
