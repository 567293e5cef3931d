"""Control batches: the markers that end a transaction in a partition (KIP-98).

A batch with the control and the transactional bit set, one record, no sequence, never compressed. The record's key is
a version and the marker's type, its value a version and the epoch of the coordinator that wrote it.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from ottla.broker.log.batch import (
    CONTROL,
    CRC_FROM,
    HEADER_SIZE,
    LENGTH_OVERHEAD,
    MAGIC,
    TRANSACTIONAL,
    BatchHeader,
    crc_of,
)

_AFTER_CRC = struct.Struct(">hiqqqhii")
# A record: length, attributes, timestamp delta, offset delta, key length (varints), key (version, type), value length,
# value (version, coordinator epoch), no headers.
_RECORD = struct.Struct(">5shhbhib")
_RECORD_HEAD = bytes([16 << 1, 0, 0, 0, 4 << 1])
_VALUE_LENGTH = 6 << 1
_TYPE_AT = HEADER_SIZE + 7
CONTROL_BATCH_SIZE = HEADER_SIZE + _RECORD.size


class Marker(IntEnum):
    """The type of a control record, as Kafka writes it."""

    ABORT = 0
    COMMIT = 1


def control_batch(
    producer_id: int, producer_epoch: int, marker: Marker, coordinator_epoch: int, timestamp: int
) -> tuple[BatchHeader, bytes]:
    """A marker as a batch: its header (base offset 0) and its bytes from the attributes on.

    Args:
        producer_id: Whose transaction it ends.
        producer_epoch: The epoch that the producer has from now on in this partition.
        marker: What became of the transaction.
        coordinator_epoch: Of who wrote it.
        timestamp: Milliseconds since the epoch.
    """
    attributes = TRANSACTIONAL | CONTROL
    fields = (attributes, 0, timestamp, timestamp, producer_id, producer_epoch, -1, 1)
    record = _RECORD.pack(_RECORD_HEAD, 0, marker, _VALUE_LENGTH, 0, coordinator_epoch, 0)
    body = _AFTER_CRC.pack(*fields) + record
    length = CONTROL_BATCH_SIZE - LENGTH_OVERHEAD
    return BatchHeader(0, length, 0, MAGIC, crc_of(body), *fields), body


def marker_of(batch: bytes | memoryview) -> tuple[Marker | None, int]:
    """What a control batch says, and its coordinator's epoch; None for a type that is no transaction's marker.

    Args:
        batch: From its first byte on; the first CONTROL_BATCH_SIZE bytes are enough.
    """
    version, kind = struct.unpack_from(">hh", batch, _TYPE_AT - 2)
    if version < 0 or kind not in (Marker.ABORT, Marker.COMMIT):
        return None, -1
    (epoch,) = struct.unpack_from(">i", batch, _TYPE_AT + 5)
    return Marker(kind), epoch


assert _AFTER_CRC.size == HEADER_SIZE - CRC_FROM
