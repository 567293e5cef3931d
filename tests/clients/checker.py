"""Compares what a client reports with the logs, which are read over a raw connection: no client takes part."""

from __future__ import annotations

import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import cramjam

from ottla.testing import Broker
from tests.clients.scenario import PARTITIONS, Consumed, Content, Plan, Report
from tests.contracts.wire import FETCH, NONE, OFFSET_FETCH, Connection, array, read_fetch, string

ABORT, COMMIT = 0, 1
TRANSACTIONAL, CONTROL = 1 << 4, 1 << 5
_BATCH = struct.Struct(">qiibIhiqqqhii")
_XERIAL = b"\x82SNAPPY\x00"


@dataclass(frozen=True)
class Record:
    offset: int
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True)
class Log:
    """One partition. `committed` are the records that a reader of committed records must see, `aborted` the others."""

    committed: list[Record]
    aborted: list[Record]


def check(broker: Broker, plan: Plan, report: Report, content: Content) -> None:
    """Fails with what does not fit."""
    with Connection(broker) as connection:
        logs = [read_log(connection, plan.topic, partition) for partition in range(PARTITIONS)]
        _check_produced(logs, plan, report, content)
        _check_consumed(connection, logs, plan, report)
        if report.transacted:
            _check_copies(connection, logs, plan, report, content)


def _check_produced(logs: list[Log], plan: Plan, report: Report, content: Content) -> None:
    numbers = {content.value(n): n for n in range(plan.count)}
    found = Counter(record.value for log in logs for record in log.committed)
    assert found == Counter(numbers.keys()), "the log does not hold every record once"
    acknowledged = {n: (partition, offset) for n, partition, offset in report.acknowledged or ()}
    for partition, log in enumerate(logs):
        assert not log.aborted
        order = [numbers[record.value] for record in log.committed]
        assert order == sorted(order), f"partition {partition} is out of order"
        for n, record in zip(order, log.committed, strict=True):
            assert record.key == content.key(n)
            assert record.headers == content.headers(n)
            if content.partition is not None:
                assert partition == content.partition(n)
            if report.acknowledged is not None:
                assert acknowledged.pop(n) == (partition, record.offset), f"record {n} was acknowledged elsewhere"
    assert not acknowledged, "records were acknowledged that are not there"


def _check_consumed(connection: Connection, logs: list[Log], plan: Plan, report: Report) -> None:
    by_partition: dict[int, list[Consumed]] = {}
    for record in report.consumed:
        by_partition.setdefault(record.partition, []).append(record)
    for partition, log in enumerate(logs):
        seen = [(r.offset, r.key, r.value, r.header) for r in by_partition.get(partition, [])]
        there = [(r.offset, _text(r.key), _text(r.value), _header(r)) for r in log.committed]
        assert seen == there, f"what was read of partition {partition} is not what it holds"
        assert committed_offset(connection, plan.group, plan.topic, partition) in _ends(log)


def _check_copies(connection: Connection, logs: list[Log], plan: Plan, report: Report, content: Content) -> None:
    copies = [read_log(connection, plan.copies, partition) for partition in range(PARTITIONS)]
    numbers = {content.value(n): n for n in range(plan.count)}
    aborted = 0
    for partition, (log, copied) in enumerate(zip(logs, copies, strict=True)):
        wanted = [content.copy(numbers[record.value]) for record in log.committed]
        assert [record.value for record in copied.committed] == wanted, f"copies in partition {partition} differ"
        aborted += len(copied.aborted)
        if report.offsets_in_transaction:
            assert committed_offset(connection, plan.transactional_group, plan.topic, partition) in _ends(log)
    if report.aborted:
        assert aborted, "no record of the aborted transaction is in the log: it was never tried"


def _ends(log: Log) -> tuple[int, ...]:
    """What a group that has read all of it has committed; of an empty partition perhaps nothing."""
    return (log.committed[-1].offset + 1,) if log.committed else (0, -1)


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode()


def _header(record: Record) -> str | None:
    return record.headers[0][1].decode() if record.headers else None


# --- reading logs ---


def read_log(connection: Connection, topic: str, partition: int) -> Log:
    """A whole partition, once every transaction in it has ended: Apache Kafka writes markers after it has answered."""
    deadline = time.monotonic() + 15
    while True:
        log, pending = _read_once(connection, topic, partition)
        if not pending:
            return log
        assert time.monotonic() < deadline, f"open transactions in {topic}-{partition}: {pending}"
        time.sleep(0.05)


def _read_once(connection: Connection, topic: str, partition: int) -> tuple[Log, dict[int, list[Record]]]:
    log = Log([], [])
    pending: dict[int, list[Record]] = {}
    offset = 0
    while True:
        answer = read_fetch(connection.ask(FETCH, 11, _fetch_all(topic, partition, offset)))
        assert answer.error == NONE
        if offset >= answer.high_watermark:
            break
        for base, attributes, producer_id, records in batches(answer.records):
            offset = max(offset, base)
            for record in records:
                offset = max(offset, record.offset + 1)
            if attributes & CONTROL:
                (kind,) = struct.unpack(">xxh", records[0].key or b"")
                ended = pending.pop(producer_id, [])
                (log.committed if kind == COMMIT else log.aborted).extend(ended)
            elif attributes & TRANSACTIONAL:
                pending.setdefault(producer_id, []).extend(records)
            else:
                log.committed.extend(records)
    log.committed.sort(key=lambda record: record.offset)
    return log, pending


def _fetch_all(topic: str, partition: int, offset: int) -> bytes:
    """Fetch, version 11, of uncommitted records as well."""
    wanted = struct.pack(">iiqqi", partition, -1, offset, -1, 1 << 20)
    head = struct.pack(">iiiibii", -1, 0, 1, 1 << 20, 0, 0, -1)
    return head + array([string(topic) + array([wanted])]) + array([]) + string("")


def batches(data: bytes) -> Iterator[tuple[int, int, int, list[Record]]]:
    """The whole batches in the bytes of a fetch: base offset, attributes, producer id, records."""
    at = 0
    while at + _BATCH.size <= len(data):
        base, length, _, magic, _, attributes, _, _, _, producer_id, _, _, count = _BATCH.unpack_from(data, at)
        if at + 12 + length > len(data):
            return
        assert magic == 2
        body = _decompressed(attributes & 7, data[at + _BATCH.size : at + 12 + length])
        yield base, attributes, producer_id, list(_records(body, base, count))
        at += 12 + length


def _decompressed(codec: int, body: bytes) -> bytes:
    if codec == 0:
        return body
    if codec == 1:
        return zlib.decompress(body, 31)
    if codec == 2:
        return _snappy(body)
    return bytes((cramjam.lz4 if codec == 3 else cramjam.zstd).decompress(body))


def _snappy(body: bytes) -> bytes:
    """Java's clients cut snappy into blocks with lengths before them; librdkafka and Go send one block without."""
    if not body.startswith(_XERIAL):
        return bytes(cramjam.snappy.decompress_raw(body))
    at, out = 16, b""
    while at < len(body):
        (size,) = struct.unpack_from(">i", body, at)
        out += bytes(cramjam.snappy.decompress_raw(body[at + 4 : at + 4 + size]))
        at += 4 + size
    return out


def _records(body: bytes, base: int, count: int) -> Iterator[Record]:
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = body[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)

    def blob() -> bytes | None:
        nonlocal at
        size = varint()
        if size < 0:
            return None
        at += size
        return body[at - size : at]

    for _ in range(count):
        varint()  # length
        at += 1  # attributes
        varint()  # timestamp
        offset = base + varint()
        key, value = blob(), blob() or b""
        headers = [((blob() or b"").decode(), blob() or b"") for _ in range(varint())]
        yield Record(offset, key, value, headers)


def committed_offset(connection: Connection, group: str, topic: str, partition: int) -> int:
    """OffsetFetch, version 5, of one partition; -1 if there is none."""
    answer = connection.ask(
        OFFSET_FETCH, 5, string(group) + array([string(topic) + array([struct.pack(">i", partition)])])
    )
    answer.int32()
    assert (answer.int32(), answer.string(), answer.int32(), answer.int32()) == (1, topic, 1, partition)
    offset = answer.int64()
    answer.int32()
    answer.string()
    assert (answer.int16(), answer.int16()) == (NONE, NONE)
    return offset
