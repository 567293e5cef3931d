"""Which records are committed, worked out from the raw log alone: every batch is read, open or aborted or not.

Independent of the broker's last stable offset and lists of aborted transactions, and of every client's filter.
"""

from __future__ import annotations

import zlib

from ottla.broker.wire.messages.fetch import FETCH
from tests.broker.batches import headers
from tests.contracts.asking import Asking
from tests.contracts.transactor import CONTROL, READ_UNCOMMITTED, TRANSACTIONAL

HEADER_SIZE = 61


def committed_values(asking: Asking, topic: str, partition: int) -> list[bytes]:
    """The values of all records that are committed, or not part of a transaction, in order of their offsets.

    Fails if a transaction is open, or an offset is missing.
    """
    pending: dict[int, list[tuple[int, bytes]]] = {}
    decided: list[tuple[int, bytes]] = []
    offset = 0
    while True:
        data = _fetch(asking, topic, partition, offset)
        if not data:
            break
        position = 0
        for header in headers(data):
            assert header.base_offset == offset, f"offset {offset} is missing, {header.base_offset} follows"
            body = data[position + HEADER_SIZE : position + header.size]
            position += header.size
            offset = header.last_offset + 1
            if header.attributes & CONTROL:
                written = pending.pop(header.producer_id, [])
                if _is_commit(body):
                    decided += written
                continue
            records = [(header.base_offset + n, value) for n, value in enumerate(_values(body, header.attributes & 7))]
            assert len(records) == header.record_count
            if header.attributes & TRANSACTIONAL:
                pending.setdefault(header.producer_id, []).extend(records)
            else:
                decided += records
    assert not pending, f"open transactions of producers {sorted(pending)}"
    return [value for _, value in sorted(decided)]


def _fetch(asking: Asking, topic: str, partition: int, offset: int) -> bytes:
    wanted = {"partition": partition, "fetch_offset": offset, "partition_max_bytes": 1 << 20}
    answer = asking.ask(
        FETCH,
        11,
        max_wait_ms=0,
        min_bytes=1,
        max_bytes=1 << 20,
        isolation_level=READ_UNCOMMITTED,
        topics=[{"topic": topic, "partitions": [wanted]}],
    )
    part = answer["responses"][0]["partitions"][0]
    assert part["error_code"] == 0
    return bytes(part["records"] or b"")


def _is_commit(body: bytes) -> bool:
    """The control record's key is a version and a type, 16 bits each; 1 is COMMIT."""
    ((key, _),) = records_of(body)
    assert key is not None
    return int.from_bytes(key[2:4], "big") == 1


def _values(body: bytes, codec: int) -> list[bytes]:
    assert codec in (0, 1), "the test writes uncompressed or with gzip"
    opened = zlib.decompress(body, 31) if codec else body
    return [value or b"" for _, value in records_of(opened)]


def records_of(data: bytes) -> list[tuple[bytes | None, bytes | None]]:
    """Key and value of each record."""
    found: list[tuple[bytes | None, bytes | None]] = []
    at = 0
    while at < len(data):
        size, at = _varint(data, at)
        stop = at + size
        at += 1
        for _ in range(2):
            _, at = _varint(data, at)
        fields: list[bytes | None] = []
        for _ in range(2):
            length, at = _varint(data, at)
            fields.append(None if length < 0 else data[at : at + length])
            at += max(length, 0)
        found.append((fields[0], fields[1]))
        at = stop
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
