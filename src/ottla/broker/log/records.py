"""Looking into a batch: record by record, only where the protocol's promise needs it, never on the hot path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ottla.broker.log.batch import HEADER_SIZE, LOG_APPEND_TIME, BatchHeader
from ottla.broker.log.compression import Unopened, open_records
from ottla.broker.wire.primitives import MalformedMessage, read_varint


class RecordHead(NamedTuple):
    offset: int
    timestamp: int
    has_key: bool


def record_heads(batch: bytes | memoryview, header: BatchHeader) -> Iterator[RecordHead]:
    """The records of a batch. Raises Unopened if its codec cannot be opened here, or its records make no sense."""
    data = open_records(header.codec, bytes(batch[HEADER_SIZE : header.size]))
    position = 0
    stamped = header.attributes & LOG_APPEND_TIME
    try:
        for _ in range(header.record_count):
            size, position = read_varint(data, position)
            stop = position + size
            timestamp_delta, at = read_varint(data, position + 1)
            offset_delta, at = read_varint(data, at)
            key_size, _ = read_varint(data, at)
            timestamp = header.max_timestamp if stamped else header.base_timestamp + timestamp_delta
            yield RecordHead(header.base_offset + offset_delta, timestamp, key_size >= 0)
            position = stop
    except (IndexError, MalformedMessage) as error:
        raise Unopened(f"the records of the batch make no sense: {error}") from error


def has_record_without_key(batch: memoryview, header: BatchHeader) -> bool:
    """Whether a record has no key; False if the batch cannot be opened here."""
    try:
        return any(not record.has_key for record in record_heads(batch, header))
    except Unopened:
        return False
