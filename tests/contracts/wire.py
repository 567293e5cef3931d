"""Kafka's protocol by hand, for what no client would send. Only old, non-flexible versions: easy to write and read."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

import crc32c

from ottla.testing import Broker

PRODUCE, FETCH, LIST_OFFSETS, METADATA = 0, 1, 2, 3
OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR = 8, 9, 10
JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP = 11, 12, 13, 14
API_VERSIONS, INIT_PRODUCER_ID = 18, 22

NONE = 0
OFFSET_OUT_OF_RANGE = 1
CORRUPT_MESSAGE = 2
UNKNOWN_TOPIC_OR_PARTITION = 3
MESSAGE_TOO_LARGE = 10
COORDINATOR_LOAD_IN_PROGRESS = 14
NOT_COORDINATOR = 16
INVALID_TOPIC = 17
RECORD_LIST_TOO_LARGE = 18
INVALID_REQUIRED_ACKS = 21
ILLEGAL_GENERATION = 22
INVALID_GROUP_ID = 24
UNKNOWN_MEMBER_ID = 25
INVALID_SESSION_TIMEOUT = 26
INCONSISTENT_GROUP_PROTOCOL = 23
REBALANCE_IN_PROGRESS = 27
UNSUPPORTED_VERSION = 35
OUT_OF_ORDER_SEQUENCE = 45
INVALID_PRODUCER_EPOCH = 47
MEMBER_ID_REQUIRED = 79
FENCED_INSTANCE_ID = 82
INVALID_RECORD = 87


class Reader:
    """Reads one answer from its beginning to its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _unpack(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return int(value)

    def int8(self) -> int:
        return self._unpack(">b")

    def int16(self) -> int:
        return self._unpack(">h")

    def int32(self) -> int:
        return self._unpack(">i")

    def int64(self) -> int:
        return self._unpack(">q")

    def string(self) -> str | None:
        length = self.int16()
        return None if length < 0 else self._take(length).decode()

    def bytes(self) -> bytes | None:
        length = self.int32()
        return None if length < 0 else self._take(length)

    def uvarint(self) -> int:
        value = shift = 0
        while True:
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def rest(self) -> bytes:
        return self._take(len(self._data) - self._at)

    def _take(self, length: int) -> bytes:
        assert self._at + length <= len(self._data), "the answer ends too early"
        taken = self._data[self._at : self._at + length]
        self._at += length
        return taken


def string(value: str | None) -> bytes:
    return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value.encode())) + value.encode()


def blob(value: bytes | None) -> bytes:
    return struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value


def array(items: Sequence[bytes]) -> bytes:
    return struct.pack(">i", len(items)) + b"".join(items)


class Connection:
    """One TCP connection to a broker. Context manager."""

    def __init__(self, broker: Broker, *, timeout_s: float = 15.0) -> None:
        host, port = broker.bootstrap_servers.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=timeout_s)
        self._correlation = 0

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def send_bytes(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send(self, key: int, version: int, body: bytes, *, client_id: str | None = "contract") -> int:
        """Sends a request and gives its correlation id."""
        self._correlation += 1
        self.send_bytes(request(key, version, self._correlation, body, client_id=client_id))
        return self._correlation

    def receive(self) -> tuple[int, Reader]:
        """The next answer: correlation id and body."""
        (length,) = struct.unpack(">i", self._exactly(4))
        answer = Reader(self._exactly(length))
        return answer.int32(), answer

    def ask(self, key: int, version: int, body: bytes) -> Reader:
        """Sends a request and gives the body of its answer."""
        sent = self.send(key, version, body)
        received, answer = self.receive()
        assert received == sent
        return answer

    def closed_by_broker(self) -> bool:
        """Waits for the broker's next move: True if it closes, False if it sends something."""
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise ConnectionError("the broker closed the connection")
            data += piece
        return bytes(data)


def request(key: int, version: int, correlation: int, body: bytes, *, client_id: str | None = "contract") -> bytes:
    """A whole request with header version 1, as it goes over the wire."""
    return blob(struct.pack(">hhi", key, version, correlation) + string(client_id) + body)


# --- record batches (KIP-98, magic 2) ---


def _varint(value: int) -> bytes:
    unsigned = (value << 1) ^ (value >> 63)
    out = bytearray()
    while unsigned > 0x7F:
        out.append(unsigned & 0x7F | 0x80)
        unsigned >>= 7
    out.append(unsigned)
    return bytes(out)


def _record(offset_delta: int, value: bytes) -> bytes:
    body = b"\x00" + _varint(offset_delta) + _varint(offset_delta) + _varint(-1)
    body += _varint(len(value)) + value + _varint(0)
    return _varint(len(body)) + body


def batch(
    values: Sequence[bytes],
    *,
    producer_id: int = -1,
    epoch: int = -1,
    sequence: int = -1,
    magic: int = 2,
    last_offset_delta: int | None = None,
    timestamp_ms: int | None = None,
) -> bytes:
    """A record batch without keys, headers and compression. The records' timestamps rise by 1 ms from now on.

    Not from some fixed time in the past: when Kafka starts it forgets producers whose last batch is a day old.
    """
    timestamp_ms = timestamp_ms or time.time_ns() // 1_000_000
    last = len(values) - 1 if last_offset_delta is None else last_offset_delta
    after_crc = struct.pack(
        ">hiqqqhii", 0, last, timestamp_ms, timestamp_ms + last, producer_id, epoch, sequence, len(values)
    ) + b"".join(_record(delta, value) for delta, value in enumerate(values))
    after_length = struct.pack(">ibI", -1, magic, crc32c.crc32c(after_crc)) + after_crc
    return struct.pack(">qi", 0, len(after_length)) + after_length


# --- requests ---


@dataclass(frozen=True)
class Produced:
    """A partition's part of a Produce answer."""

    error: int
    base_offset: int


def produce_body(topic: str, records: bytes, *, partition: int = 0, acks: int = -1, timeout_ms: int = 10_000) -> bytes:
    partitions = array([struct.pack(">i", partition) + blob(records)])
    return string(None) + struct.pack(">hi", acks, timeout_ms) + array([string(topic) + partitions])


def produce(connection: Connection, topic: str, records: bytes, *, partition: int = 0, acks: int = -1) -> Produced:
    """Produce, version 7, of one batch to one partition."""
    answer = connection.ask(PRODUCE, 7, produce_body(topic, records, partition=partition, acks=acks))
    assert (answer.int32(), answer.string(), answer.int32(), answer.int32()) == (1, topic, 1, partition)
    return Produced(error=answer.int16(), base_offset=answer.int64())


def init_producer_id(connection: Connection) -> tuple[int, int]:
    """InitProducerId, version 1, without a transactional id: producer id and epoch."""
    for _ in range(200):
        answer = connection.ask(INIT_PRODUCER_ID, 1, string(None) + struct.pack(">i", 60_000))
        answer.int32()
        error = answer.int16()
        # Just after its start, Apache Kafka has yet to get a block of ids.
        if error != COORDINATOR_LOAD_IN_PROGRESS:
            break
        time.sleep(0.05)
    assert error == NONE
    return answer.int64(), answer.int16()


@dataclass(frozen=True)
class Fetched:
    """A partition's part of a Fetch answer."""

    error: int
    high_watermark: int
    records: bytes


def fetch_body(
    topic: str,
    offset: int,
    *,
    partition: int = 0,
    max_wait_ms: int = 0,
    min_bytes: int = 1,
    max_bytes: int = 1 << 20,
    partition_max_bytes: int = 1 << 20,
) -> bytes:
    wanted = struct.pack(">iiqqi", partition, -1, offset, -1, partition_max_bytes)
    return (
        struct.pack(">iiiibii", -1, max_wait_ms, min_bytes, max_bytes, 0, 0, -1)
        + array([string(topic) + array([wanted])])
        + array([])
        + string("")
    )


def read_fetch(answer: Reader) -> Fetched:
    """The answer to a Fetch, version 11, of one partition."""
    answer.int32()
    assert answer.int16() == NONE
    answer.int32()
    if answer.int32() == 0:
        return Fetched(NONE, -1, b"")
    answer.string()
    answer.int32()
    answer.int32()
    error, high_watermark = answer.int16(), answer.int64()
    answer.int64()
    answer.int64()
    for _ in range(max(answer.int32(), 0)):
        answer.int64()
        answer.int64()
    answer.int32()
    return Fetched(error, high_watermark, answer.bytes() or b"")


def fetch(connection: Connection, topic: str, offset: int, **options: int) -> Fetched:
    """Fetch, version 11, of one partition."""
    return read_fetch(connection.ask(FETCH, 11, fetch_body(topic, offset, **options)))


def base_offsets(records: bytes) -> list[int]:
    """The base offsets of the whole batches among the bytes of a Fetch answer."""
    found, at = [], 0
    while at + 12 <= len(records):
        offset, length = struct.unpack_from(">qi", records, at)
        if at + 12 + length > len(records):
            break
        found.append(offset)
        at += 12 + length
    return found


def api_versions(connection: Connection) -> dict[int, tuple[int, int]]:
    """ApiVersions, version 0: the lowest and highest version of every API."""
    answer = connection.ask(API_VERSIONS, 0, b"")
    assert answer.int16() == NONE
    return read_api_versions(answer)


def read_api_versions(answer: Reader) -> dict[int, tuple[int, int]]:
    """The array within an ApiVersions answer of version 0."""
    return {answer.int16(): (answer.int16(), answer.int16()) for _ in range(answer.int32())}
