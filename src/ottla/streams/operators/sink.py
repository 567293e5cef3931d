"""Where records go out: values to bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ottla.errors import EncodeError
from ottla.streams.context import TaskContext
from ottla.streams.operators.base import Operator, applied
from ottla.streams.operators.batch import Batch
from ottla.streams.records import Record
from ottla.streams.serdes import Serde
from ottla.streams.topology.nodes import SinkNode


class SinkOperator(Operator):
    """Encodes records and hands them to the task's Sink."""

    def __init__(self, node: SinkNode) -> None:
        self.node = node

    def start(self, context: TaskContext) -> None:
        super().start(context)
        self._key: Serde[Any] = self.node.key.bind(context.codecs)
        self._value: Serde[Any] = self.node.value.bind(context.codecs)

    def process(self, batch: Batch) -> None:
        if isinstance(self.node.topic, str):
            self._write(batch, self.context.topology.physical(self.node.topic))
        else:
            self._write_chosen(batch)

    def _write_chosen(self, batch: Batch) -> None:
        """Runs of records for the same topic are written together."""
        choose: Any = self.node.topic
        headers = batch.headers or [None] * len(batch)
        topics, batch = applied(
            self,
            batch,
            lambda key, value, stamp, header: choose(Record(key, value, stamp, list(header or ()))),
            batch.keys,
            batch.whole,
            batch.timestamps,
            headers,
        )
        start = 0
        for end in range(1, len(topics) + 1):
            if end == len(topics) or topics[end] != topics[start]:
                self._write(batch.at(range(start, end)), topics[start])
                start = end

    def _write(self, batch: Batch, topic: str) -> None:
        keys, batch = self._encoded(batch, topic, key=True)
        values, batch = self._encoded(batch, topic, key=False)
        if len(keys) != len(values):  # a value that could not be written takes its key with it
            keys, batch = self._encoded(batch, topic, key=True)
        if not len(batch):
            return
        choose = self.node.partitioner
        if choose is None:
            self.context.sink.send_many(topic, keys, values, batch.timestamps, batch.headers)
            return
        count = self.context.sink.partitions(topic)
        partitions, kept = applied(self, batch, lambda key, value: choose(key, value, count), batch.keys, batch.whole)
        if len(kept) != len(batch):
            keys, kept = self._encoded(kept, topic, key=True)
            values, kept = self._encoded(kept, topic, key=False)
        for index, partition in enumerate(partitions):
            self.context.sink.send(
                topic,
                keys[index],
                values[index],
                headers=kept.header(index),
                timestamp_ms=kept.timestamps[index],
                partition=partition,
            )

    def _encoded(self, batch: Batch, topic: str, *, key: bool) -> tuple[Sequence[bytes | None], Batch]:
        """The bytes, and the batch without the records that could not be written."""
        while True:
            serde = self._key if key else self._value
            raw = batch.raw_keys if key else batch.raw_values
            if raw is not None and (self.node.keys_as_read if key else batch.values is None):
                # As it came in. Values only where they were never handed out, so that nobody can have changed them.
                return raw, batch
            try:
                return serde.encode_many(batch.keys if key else batch.whole, topic), batch
            except EncodeError as error:
                index = error.index or 0
                self.context.failed(self, batch, index, error, "production")
                batch = batch.where([at != index for at in range(len(batch))])
