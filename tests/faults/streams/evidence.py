"""What a failed run leaves behind: every transaction, in the order of their ends, as the brokers' own files have them.

Nothing of it comes through a client or a broker's answer: segments are read as they lie on disk, purged records and
records of undone transactions too. So one failure says which transaction told what, from which input, and how it ended.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from ottla.broker.log.batch import CONTROL, HEADER_SIZE, TRANSACTIONAL, BatchHeader, read_header
from ottla.testing import Broker
from tests.contracts.raw_log import records_of

OFFSETS = "__consumer_offsets"
STATE = "__transaction_state"
MOMENT_MS = 40
LEFT_OUT = "Couldn't find leader endpoint"
"""Apache Kafka's coordinator says so where it gives a partition up, and with it a transaction's end there."""


class Written(msgspec.Struct):
    """Consecutive records of one partition in one transaction."""

    place: str
    first: int
    epoch: int
    sequence: int
    records: list[str]


class Transaction(msgspec.Struct):
    """What one producer wrote between two markers, or outside of any transaction."""

    producer: str
    outcome: str = "OPEN"
    ended_ms: int = 0
    markers: list[str] = []
    written: list[Written] = []

    def lines(self) -> Iterator[str]:
        yield f"{self.ended_ms} {self.producer} {self.outcome} {' '.join(self.markers)}"
        for one in self.written:
            yield f"    {one.place}@{one.first} epoch {one.epoch} seq {one.sequence}: {' '.join(one.records)}"


def keep(broker: Broker, topics: list[str], folder: Path) -> Path:
    """Copies the broker's files of `topics` and of the groups' offsets, and its log, and writes `history.txt` beside
    them. It begins with what the broker itself says it left out.

    Gives the history's path.
    """
    kept = folder / "evidence"
    kept.mkdir(parents=True)
    ids = _topics_by_id(broker, topics)
    for found in sorted(broker.data_dir.rglob("*.log")):
        name = found.parent.name
        if (topic := ids.get(found.parent.parent.name)) is not None:
            name = f"{topic}-{name}"  # the embedded broker's folders: TOPIC_ID/PARTITION; Kafka's: TOPIC-PARTITION
        if name.rpartition("-")[0] in (*topics, OFFSETS, STATE):
            (kept / name).mkdir(exist_ok=True)
            shutil.copy(found, kept / name / found.name)
    log = broker.log_path.read_text("utf-8", "replace") if broker.log_path.exists() else ""
    (kept / "broker.log").write_text(log)
    lines = [line for line in log.splitlines() if LEFT_OUT in line]
    lines += [line for one in transactions(kept) for line in one.lines()]
    history = kept / "history.txt"
    history.write_text("\n".join(lines))
    return history


def _topics_by_id(broker: Broker, topics: list[str]) -> dict[str, str]:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    found = {}
    for topic, described in admin.describe_topics(TopicCollection(topics)).items():
        topic_id = described.result(20).topic_id
        halves = topic_id.get_most_significant_bits(), topic_id.get_least_significant_bits()
        found["".join(f"{half & (1 << 64) - 1:016x}" for half in halves)] = topic
    return found


def transactions(kept: Path) -> list[Transaction]:
    """All of them, by the time of their first marker. Markers of one producer that are written within a moment of one
    another are those of one transaction, since its next one ends later."""
    found: list[Transaction] = []
    for folder in sorted(one for one in kept.iterdir() if one.is_dir() and not one.name.startswith(STATE)):
        pending: dict[int, list[Written]] = {}
        for header, body in _batches(folder):
            if header.attributes & CONTROL:
                _end(found, folder.name, header, body, pending.pop(header.producer_id, []))
                continue
            written = Written(
                folder.name, header.base_offset, header.producer_epoch, header.base_sequence,
                [_said(folder.name, key, value) for key, value in records_of(body)],
            )  # fmt: skip
            if header.attributes & TRANSACTIONAL:
                pending.setdefault(header.producer_id, []).append(written)
        for producer, left in pending.items():
            found.append(Transaction(f"{producer}", written=left))
    return sorted(found, key=lambda one: (one.ended_ms, one.producer))


def _end(found: list[Transaction], place: str, header: BatchHeader, body: bytes, written: list[Written]) -> None:
    ((key, _),) = records_of(body)
    assert key is not None
    outcome = "COMMIT" if key[2:4] == b"\0\1" else "ABORT"
    producer = f"{header.producer_id}/{header.producer_epoch}"
    for one in found:
        if (one.producer, one.outcome) == (producer, outcome) and abs(one.ended_ms - header.base_timestamp) < MOMENT_MS:
            break
    else:
        one = Transaction(producer, outcome, header.base_timestamp)
        found.append(one)
    one.markers.append(f"{place}@{header.base_offset}")
    one.written += written


def _batches(folder: Path) -> Iterator[tuple[BatchHeader, bytes]]:
    for segment in sorted(folder.glob("*.log")):
        data, at = segment.read_bytes(), 0
        while at + HEADER_SIZE <= len(data):
            header = read_header(data, at)
            if header.size <= HEADER_SIZE or at + header.size > len(data):
                break
            yield header, data[at + HEADER_SIZE : at + header.size]
            at += header.size


def _said(place: str, key: bytes | None, value: bytes | None) -> str:
    if place.startswith(OFFSETS):
        return _offset(key or b"", value)
    number = value is not None and len(value) == 8
    shown = int.from_bytes(value or b"", "big") if number else (value or b"-").decode("utf-8", "replace")
    return f"{(key or b'-').decode('utf-8', 'replace')}={shown}"


def _offset(key: bytes, value: bytes | None) -> str:
    """A record of the groups' topic: positions in full, of the rest its kind only."""
    (version,) = struct.unpack_from(">h", key)
    if version > 1:
        return f"(kind {version})"
    at, texts = 2, []
    for _ in range(2):
        (length,) = struct.unpack_from(">h", key, at)
        texts.append(key[at + 2 : at + 2 + length].decode())
        at += 2 + length
    (partition,) = struct.unpack_from(">i", key, at)
    offset = "-" if value is None else struct.unpack_from(">q", value, 2)[0]
    return f"{texts[1]}-{partition}={offset}"
