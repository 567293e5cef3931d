"""The 61-byte header of a record batch (magic 2), and the checks made on it.

Batches are opaque: nothing after the header is looked at on the way through. The CRC covers everything from the
attributes on, so base offset and leader epoch can be patched in place without touching it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import google_crc32c

HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_SIZE = HEADER.size  # 61
LENGTH_OVERHEAD = 12  # base offset and length are not counted by the length field
CRC_FROM = 21
CRC_PIECE_BYTES = 1 << 15
MAGIC = 2

COMPRESSION_MASK = 0x07
LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20
NO_PRODUCER = -1

_unpack = HEADER.unpack_from
_prefix = struct.Struct(">qiibI")


class BatchHeader(NamedTuple):
    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return self.length + LENGTH_OVERHEAD

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def last_sequence(self) -> int:
        """The sequence of the last record. Sequences wrap to 0 after 2^31 - 1."""
        return (self.base_sequence + self.last_offset_delta) & 0x7FFFFFFF

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & CONTROL)

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL)

    @property
    def codec(self) -> int:
        return self.attributes & COMPRESSION_MASK


def read_header(buffer: bytes | bytearray | memoryview, position: int = 0) -> BatchHeader:
    """Reads a header; raises struct.error if fewer than 61 bytes are left."""
    return BatchHeader._make(_unpack(buffer, position))


def crc_of(body: bytes | memoryview) -> int:
    """CRC32C of a batch from the attributes on.

    The C library takes `bytes` only. Anything else is copied for it in pieces that stay in the processor's cache, which
    costs a fraction of copying it as a whole.
    """
    if isinstance(body, bytes):
        return int(google_crc32c.value(body))
    crc = 0
    for at in range(0, len(body), CRC_PIECE_BYTES):
        crc = google_crc32c.extend(crc, bytes(body[at : at + CRC_PIECE_BYTES]))
    return crc


def stamped_prefix(header: BatchHeader, base_offset: int, leader_epoch: int, crc: int) -> bytes:
    """The first 21 bytes, with the offset and epoch the broker gives."""
    return _prefix.pack(base_offset, header.length, leader_epoch, header.magic, crc)


def is_intact(data: bytes, position: int, header: BatchHeader) -> bool:
    """Whether a whole, undamaged batch lies at `position`."""
    if header.magic != MAGIC or header.length < HEADER_SIZE - LENGTH_OVERHEAD or header.record_count < 0:
        return False
    stop = position + header.size
    return stop <= len(data) and crc_of(data[position + CRC_FROM : stop]) == header.crc
