"""Record batches for the broker's tests, built field by field, so that any of them can be made wrong."""

from __future__ import annotations

import gzip
import struct
import time
from collections.abc import Sequence

from ottla.broker.log.batch import CRC_FROM, HEADER, BatchHeader, crc_of, read_header

T0 = time.time_ns() // 1_000_000 - 3_600_000  # of first records; retention takes far older ones


def varint(value: int) -> bytes:
    """Zig-zag varint, as records use it."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def record(offset_delta: int, timestamp_delta: int, key: bytes | None, value: bytes) -> bytes:
    key_part = varint(-1) if key is None else varint(len(key)) + key
    body = b"\0" + varint(timestamp_delta) + varint(offset_delta) + key_part + varint(len(value)) + value + varint(0)
    return varint(len(body)) + body


def batch(
    values: Sequence[bytes] = (b"value",),
    *,
    base_offset: int = 0,
    timestamps: Sequence[int] = (),
    key: bytes | None = b"key",
    codec: int = 0,
    attributes: int = 0,
    producer_id: int = -1,
    epoch: int = -1,
    sequence: int = -1,
    records: bytes | None = None,
) -> bytes:
    """A whole, valid batch. `records` replaces the encoded records (for a codec's own bytes)."""
    times = list(timestamps) or [T0] * len(values)
    body = b"".join(record(i, times[i] - times[0], key, value) for i, value in enumerate(values))
    if codec == 1:
        body = gzip.compress(body)
    body = body if records is None else records
    count = len(values)
    fields = (attributes | codec, count - 1, times[0], max(times), producer_id, epoch, sequence, count)
    tail = HEADER.pack(0, 0, 0, 0, 0, *fields)[CRC_FROM:] + body
    return struct.pack(">qiibI", base_offset, len(tail) + 9, 0, 2, crc_of(tail)) + tail


def parts(data: bytes) -> tuple[BatchHeader, bytes]:
    """Header and body of a batch, as `PartitionLog.append` wants them."""
    return read_header(data), data[CRC_FROM:]


def headers(data: bytes) -> list[BatchHeader]:
    """The headers of the batches one after another in `data`."""
    found: list[BatchHeader] = []
    position = 0
    while position < len(data):
        found.append(read_header(data, position))
        position += found[-1].size
    return found
