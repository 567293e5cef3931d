"""Contract: batches whose header is wrong in one place, with a checksum that is right, and what is answered to them."""

from __future__ import annotations

import struct
import time

import crc32c
import pytest

from ottla.testing import Broker
from tests.contracts import wire
from tests.contracts.clients import end_offset
from tests.contracts.differences import known_difference
from tests.contracts.wire import Connection, Produced, batch, produce

HEADER = struct.Struct(">qiibIhiqqqhii")
CRC_FROM = 21
FIELDS = (
    "base_offset", "length", "leader_epoch", "magic", "crc", "attributes", "last_offset_delta", "base_timestamp",
    "max_timestamp", "producer_id", "producer_epoch", "base_sequence", "record_count",
)  # fmt: skip
INVALID_TIMESTAMP, UNKNOWN_SERVER_ERROR = 32, -1
# docs/broker.md, "Where it differs": batches are not opened on their way, and what has no meaning is refused.
DIFFERENT = ({"attributes": 5}, {"producer_id": 5, "base_sequence": 0})
NOW = time.time_ns() // 1_000_000


def with_header(data: bytes, **changed: int) -> bytes:
    """The batch with other values in its header, and the checksum of what it then holds."""
    fields = dict(zip(FIELDS, HEADER.unpack_from(data), strict=True)) | changed
    whole = HEADER.pack(*fields.values()) + data[HEADER.size :]
    return whole[:17] + struct.pack(">I", crc32c.crc32c(whole[CRC_FROM:])) + whole[CRC_FROM:]


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"record_count": 0}, wire.INVALID_RECORD),
        ({"record_count": -1}, wire.INVALID_RECORD),
        ({"record_count": 2}, wire.INVALID_RECORD),
        ({"last_offset_delta": -1}, wire.INVALID_RECORD),
        ({"record_count": 0, "last_offset_delta": -1}, wire.INVALID_RECORD),
        ({"record_count": 2**31 - 1, "last_offset_delta": 2**31 - 2}, wire.INVALID_RECORD),
        ({"magic": 1}, wire.INVALID_RECORD),
        ({"magic": 3}, wire.CORRUPT_MESSAGE),
        ({"magic": -1}, wire.CORRUPT_MESSAGE),
        ({"attributes": 0x20}, wire.INVALID_RECORD),
        ({"attributes": 5}, UNKNOWN_SERVER_ERROR),
        ({"attributes": 8}, wire.NONE),
        ({"attributes": 0x4000}, wire.NONE),
        ({"base_timestamp": 2**42, "max_timestamp": 2**42}, INVALID_TIMESTAMP),
        ({"max_timestamp": 2**42}, wire.NONE),
        ({"base_timestamp": -2, "max_timestamp": -2}, wire.NONE),
        ({"base_timestamp": -1, "max_timestamp": -1}, wire.NONE),
        ({"base_offset": 2**62}, wire.INVALID_RECORD),
        ({"base_offset": -5}, wire.INVALID_RECORD),
        ({"leader_epoch": 77}, wire.NONE),
        ({"producer_id": 5}, wire.INVALID_RECORD),
        ({"producer_id": 5, "producer_epoch": 0}, wire.INVALID_RECORD),
        ({"producer_id": 5, "base_sequence": 0}, wire.NONE),
        ({"producer_id": -2}, wire.NONE),
        ({"producer_epoch": 3, "base_sequence": 9}, wire.NONE),
    ],
    ids=str,
)
def test_a_header_that_is_wrong_is_refused_and_one_that_is_odd_is_taken(
    request: pytest.FixtureRequest,
    broker_kind: str,
    broker: Broker,
    connection: Connection,
    topic: str,
    changed: dict[str, int],
    error: int,
) -> None:
    if changed in DIFFERENT or list(changed) == ["max_timestamp"]:
        known_difference(request, broker_kind, f"the header says {changed}")
    answer = produce(connection, topic, with_header(batch([b"value"], timestamp_ms=NOW), **changed))
    assert answer == Produced(error, -1 if error else 0)
    assert end_offset(broker, topic) == (0 if error else 1)
