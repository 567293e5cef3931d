"""Where records come in: bytes to values."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from ottla.errors import DecodeError
from ottla.streams.context import TaskContext
from ottla.streams.errors_policy import Failure
from ottla.streams.event_serde import BoundEventSerde
from ottla.streams.operators.base import Operator
from ottla.streams.operators.batch import Batch
from ottla.streams.punctuation import STREAM_TIME
from ottla.streams.records import NO_TIMESTAMP, RawBatch, Record
from ottla.streams.serdes import Serde
from ottla.streams.topology.nodes import Node, OperatorNode, SinkNode, SourceNode
from ottla.streams.topology.topology import SubTopology


class SourceOperator(Operator):
    """Decodes records and gives them on: as one batch where nothing can tell that from one after another."""

    def __init__(self, node: SourceNode, subtopology: SubTopology) -> None:
        self.node = node
        self._batches = _order_does_not_show(subtopology, node)
        self._fields = (_fields_needed(subtopology, node) or None) if node.timestamp is None else None
        self._partition_times: dict[tuple[str, int], int] = {}
        self._order_times: dict[tuple[str, int], int] = {}

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._key: Serde[Any] = self.node.key.bind(context.codecs)
        self._value: Serde[Any] = self.node.value.bind(context.codecs)
        self._column_serde: Serde[Any] | None = None
        if self._fields:
            self._column_serde = self._value.fields(self._fields)
            if self._column_serde is None:
                self._fields = None

    def run(self, raw: RawBatch) -> None:
        """Processes records of one partition."""
        batch = self._decoded(raw)
        if not len(batch):
            return
        context = self.context
        if self._batches and not context.punctuations.on_stream_time:
            context.stream_time_ms = max(context.stream_time_ms, max(batch.timestamps))
            self.forward(batch)
            return
        for index, timestamp in enumerate(batch.timestamps):
            context.stream_time_ms = max(context.stream_time_ms, timestamp)
            self.forward(batch.one(index))
            if context.punctuations.on_stream_time:
                context.punctuations.run(STREAM_TIME, context.stream_time_ms)

    def _decoded(self, raw: RawBatch) -> Batch:
        rows: Sequence[int] = range(len(raw))
        raw_keys, raw_values = raw.keys, raw.values
        timestamps, headers = raw.timestamps_ms, raw.headers
        if headers is not None and isinstance(self._value, BoundEventSerde):
            raw_values = self._value.framed(raw_values, headers)
        others = self._value.others(raw_values) if isinstance(self._value, BoundEventSerde) else None
        if others is not None:
            # Events of other types share the topic: they are not this stream's.
            rows = [row for row, other in zip(rows, others, strict=True) if not other]
            raw_keys, raw_values = [raw_keys[row] for row in rows], [raw_values[row] for row in rows]
            timestamps = [timestamps[row] for row in rows]
            headers = None if headers is None else [headers[row] for row in rows]
        while True:
            try:
                decoded_keys: list[Any] = self._key.decode_many(raw_keys, raw.topic)
                break
            except DecodeError as error:
                rows, raw_keys, raw_values, timestamps, headers = self._without(
                    error, raw, rows, raw_keys, raw_values, timestamps, headers
                )
        columns: dict[str, Sequence[Any]] | None = None
        decoded: list[Any] | None = None
        while self._fields is None or self._fields:
            try:
                if self._fields is None:
                    decoded = self._value.decode_many(raw_values, raw.topic)
                else:
                    assert self._column_serde is not None
                    parts = self._column_serde.decode_many(raw_values, raw.topic)
                    columns = {name: _column(parts, name) for name in self._fields}
                break
            except DecodeError as error:
                at = error.index or 0
                del decoded_keys[at]
                rows, raw_keys, raw_values, timestamps, headers = self._without(
                    error, raw, rows, raw_keys, raw_values, timestamps, headers
                )
        if self._fields is not None and columns is None:
            columns = {}
        batch = Batch(
            decoded_keys,
            decoded,
            timestamps,
            headers,
            rows,
            raw_keys=raw_keys,
            raw_values=raw_values,
            columns=columns,
        )
        if self.node.timestamp is not None:
            batch = self._timed(batch, raw)
        return self._valid(batch, raw)

    def _without(self, error: DecodeError, raw: RawBatch, rows: Sequence[int], *lists: Any) -> tuple[Any, ...]:
        """Leaves out the record that could not be read, if the handlers say so."""
        at = error.index or 0
        error.index = None
        record = raw.record(rows[at])
        self.context.failure(Failure("decode", self.name, error.at(raw.topic, raw.partition, record.offset), record))
        return tuple(None if part is None else [*part[:at], *part[at + 1 :]] for part in (rows, *lists))

    def _timed(self, batch: Batch, raw: RawBatch) -> Batch:
        """Event time from the records themselves."""
        assert self.node.timestamp is not None
        place = (raw.topic, raw.partition)
        time = self._partition_times.get(place, NO_TIMESTAMP)
        timestamps = []
        for index, (key, value, stamp) in enumerate(zip(batch.keys, batch.whole, batch.timestamps, strict=True)):
            try:
                stamp = self.node.timestamp(Record(key, value, stamp, list(batch.header(index) or ())), time)
            except Exception as error:
                self.context.failed(self, batch, index, error)
                stamp = NO_TIMESTAMP
            timestamps.append(stamp)
            time = max(time, stamp)
        self._partition_times[place] = time
        batch.timestamps = timestamps
        return batch

    def event_times(self, raw: RawBatch) -> list[int]:
        """The times that the extractor gives, before the records are processed; Kafka's, where a record cannot be read:
        what becomes of it is decided later."""
        assert self.node.timestamp is not None
        values = raw.values
        if raw.headers is not None and isinstance(self._value, BoundEventSerde):
            values = self._value.framed(values, raw.headers)
        place = (raw.topic, raw.partition)
        time = self._order_times.get(place, NO_TIMESTAMP)
        found = []
        for at, (key, value, stamp) in enumerate(zip(raw.keys, values, raw.timestamps_ms, strict=True)):
            try:
                (read_key,), (read_value,) = (
                    self._key.decode_many([key], raw.topic),
                    self._value.decode_many([value], raw.topic),
                )
                headers = list((raw.headers[at] if raw.headers else None) or ())
                event_time = self.node.timestamp(Record(read_key, read_value, stamp, headers), time)
            except Exception:
                event_time = NO_TIMESTAMP
            found.append(event_time if event_time >= 0 else stamp)
            time = max(time, found[-1])
        self._order_times[place] = time
        return found

    def _valid(self, batch: Batch, raw: RawBatch) -> Batch:
        """Without records whose time is before the epoch: there is no window for them."""
        if not len(batch) or min(batch.timestamps) >= 0:
            return batch
        chosen = [timestamp >= 0 for timestamp in batch.timestamps]
        self.context.drop(self, "no-timestamp", chosen.count(False))
        return batch.where(chosen)


def _column(parts: Sequence[Any], name: str) -> list[Any]:
    """A field of each; None where there is nothing."""
    if None in parts:
        return [None if part is None else getattr(part, name) for part in parts]
    return list(map(attrgetter(name), parts))


def _order_does_not_show(subtopology: SubTopology, source: SourceNode) -> bool:
    """Whether a whole batch may go to one operator before the next: each is reached by one path only, and no two of
    them see the same store or write the same topic."""
    reachable = subtopology.reachable(source.name)
    if any(paths > 1 for _, paths in reachable):
        return False
    stores = [store for node, _ in reachable for store in node.stores]
    topics = [node.topic for node, _ in reachable if isinstance(node, SinkNode)]
    if any(not isinstance(topic, str) for topic in topics) and len(topics) > 1:
        return False
    return len(stores) == len(set(stores)) and len(topics) == len(set(topics))


def _fields_needed(subtopology: SubTopology, source: SourceNode) -> tuple[str, ...] | None:
    """The fields of the values that are looked at downstream; None if somebody wants them whole."""
    found: dict[str, None] = {}
    waiting: list[Node] = subtopology.children(source.name)
    if not waiting:
        return ()
    while waiting:
        node = waiting.pop()
        match node:
            case OperatorNode(fields=tuple(fields)):
                found.update(dict.fromkeys(fields))
                if node.passes_on:
                    waiting += subtopology.children(node.name)
            case SinkNode() if node.value == source.value and isinstance(node.topic, str) and node.partitioner is None:
                pass
            case _:
                return None
    return tuple(found)
