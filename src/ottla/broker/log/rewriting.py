"""One batch of a compacted log: which of its records stay, and the batch that is written for them (KIP-98, KIP-534).

A batch that keeps all its records is copied byte for byte. One that loses some keeps its offsets, sequence numbers and
producer; its records are compressed again. The first compaction that meets a tombstone or the marker of a transaction
without records writes into the batch when they may go (the delete horizon, in the place of the base timestamp).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ottla.broker.log.batch import (
    COMPRESSION_MASK,
    CRC_FROM,
    HEADER,
    HEADER_SIZE,
    LENGTH_OVERHEAD,
    LOG_APPEND_TIME,
    BatchHeader,
    crc_of,
)
from ottla.broker.log.compression import Unopened, close_records, open_records
from ottla.broker.wire.primitives import MalformedMessage, read_varint

DELETE_HORIZON = 0x40
NO_TIMESTAMP = -1


class Record(NamedTuple):
    """A record within the opened bytes of its batch.

    Args:
        start, stop: Where it lies, its length included.
        body: Where its attributes are, behind the length.
        after_time: Where its offset delta begins, behind the timestamp delta.
    """

    start: int
    stop: int
    body: int
    after_time: int
    timestamp: int
    offset: int
    key: bytes | None
    has_value: bool


def records_of(data: bytes, header: BatchHeader) -> Iterator[Record]:
    """The records in the opened bytes of a batch. Raises Unopened if they make no sense."""
    position = 0
    base_offset, base_timestamp = header.base_offset, header.base_timestamp
    stamped = bool(header.attributes & LOG_APPEND_TIME)
    try:
        for _ in range(header.record_count):
            size, body = _varint(data, position)
            stop = body + size
            timestamp_delta, after_time = _varint(data, body + 1)
            offset_delta, at = _varint(data, after_time)
            key_size, at = _varint(data, at)
            key = None
            if key_size >= 0:
                key = data[at : at + key_size]
                at += key_size
            value_size, at = _varint(data, at)
            if at > stop or stop > len(data):
                raise Unopened("a record is longer than its batch")
            timestamp = header.max_timestamp if stamped else base_timestamp + timestamp_delta
            yield Record(position, stop, body, after_time, timestamp, base_offset + offset_delta, key, value_size >= 0)
            position = stop
    except (IndexError, MalformedMessage) as error:
        raise Unopened(f"the records of the batch make no sense: {error}") from error


def _varint(data: bytes, position: int) -> tuple[int, int]:
    byte = data[position]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), position + 1
    return read_varint(data, position)


def delete_horizon(header: BatchHeader) -> int | None:
    """When the tombstones or the marker in a batch may go, ms since the epoch; None if that is not decided."""
    return header.base_timestamp if header.attributes & DELETE_HORIZON else None


class Filtered(NamedTuple):
    """What becomes of a batch: its bytes (None: nothing is left of it), and their header."""

    header: BatchHeader
    data: bytes | None


def filter_batch(
    header: BatchHeader,
    data: bytes,
    stays: Callable[[Record], bool],
    *,
    keep_empty: bool,
    horizon: int,
    empty_transaction: bool = False,
) -> Filtered:
    """The batch without the records that do not stay.

    Args:
        header: Of the batch.
        data: The whole batch.
        stays: Decides on each record.
        keep_empty: Whether the batch stays, without records, if none does.
        horizon: The delete horizon for a batch that gets one now, ms since the epoch.
        empty_transaction: Whether this is the marker of a transaction of which no record is left.

    Raises:
        Unopened: The codec cannot be opened here.
    """
    opened = open_records(header.codec, data[HEADER_SIZE:])
    kept = [record for record in records_of(opened, header) if stays(record)]
    if not kept:
        return _without_records(header) if keep_empty else Filtered(header, None)
    dated = header.attributes & DELETE_HORIZON
    tombstones = not header.is_control and not all(record.has_value for record in kept)
    sets_horizon = not dated and (tombstones or empty_transaction)
    if len(kept) == header.record_count and not sets_horizon:
        return Filtered(header, data)
    base_timestamp = horizon if sets_horizon else header.base_timestamp
    if sets_horizon and header.is_control:
        body = opened  # nobody is shown a marker's time; its bytes stay where they are looked for
    elif sets_horizon:
        body = b"".join(_moved(opened, record, base_timestamp) for record in kept)
    else:
        body = b"".join(opened[record.start : record.stop] for record in kept)
    codec, body = close_records(header.codec, body)
    attributes = header.attributes & ~COMPRESSION_MASK | codec | (DELETE_HORIZON if sets_horizon else 0)
    return _batch(
        header._replace(
            attributes=attributes,
            base_timestamp=base_timestamp,
            max_timestamp=max(record.timestamp for record in kept),
            record_count=len(kept),
        ),
        body,
    )


def _without_records(header: BatchHeader) -> Filtered:
    """A batch of which only offsets and producer are left."""
    attributes = header.attributes & ~(COMPRESSION_MASK | DELETE_HORIZON)
    return _batch(header._replace(attributes=attributes, base_timestamp=NO_TIMESTAMP, record_count=0), b"")


def without_records(header: BatchHeader, data: bytes) -> Filtered:
    """The batch, emptied; as it is if it was empty before."""
    return _without_records(header) if header.record_count else Filtered(header, data)


def _moved(opened: bytes, record: Record, base_timestamp: int) -> bytes:
    """A record's bytes with its timestamp counted from another base."""
    delta = _encode_varint(record.timestamp - base_timestamp)
    body = opened[record.body : record.body + 1] + delta + opened[record.after_time : record.stop]
    return _encode_varint(len(body)) + body


def _encode_varint(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _batch(header: BatchHeader, body: bytes) -> Filtered:
    return Filtered(*signed_batch(header, body))


def signed_batch(header: BatchHeader, body: bytes) -> tuple[BatchHeader, bytes]:
    """A batch with these records (as its codec has them), and its header with length and checksum."""
    length = HEADER_SIZE - LENGTH_OVERHEAD + len(body)
    unsigned = header._replace(length=length, crc=0)
    tail = HEADER.pack(*unsigned)[CRC_FROM:] + body
    signed = unsigned._replace(crc=crc_of(tail))
    return signed, HEADER.pack(*signed)[:CRC_FROM] + tail
