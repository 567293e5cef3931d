"""What a partition remembers of transactions, and the control batches that say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ottla.broker.log.batch import TRANSACTIONAL, crc_of, read_header, stamped_prefix
from ottla.broker.log.control import CONTROL_BATCH_SIZE, Marker, control_batch, marker_of
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.transactions import AbortedTransaction, Transactions
from tests.broker.batches import batch, parts
from tests.contracts.wire import Reader

ANN, BOB = 7, 8


@pytest.fixture
def log(tmp_path: Path) -> PartitionLog:
    return PartitionLog(tmp_path / "logs" / "t" / "0")


def write(log: PartitionLog, producer_id: int, count: int = 1, *, epoch: int = 0) -> None:
    state = log.producers.states.get(producer_id)
    known = state is not None and state.epoch == epoch and state.batches
    sequence = state.batches[-1].last_sequence + 1 if state and known else 0
    header, body = parts(
        batch([b"v"] * count, attributes=TRANSACTIONAL, producer_id=producer_id, epoch=epoch, sequence=sequence)
    )
    log.append(header, body, stamp=False, segment_bytes=1000, segment_ms=1 << 40)


def end(log: PartitionLog, producer_id: int, marker: Marker, *, epoch: int = 0) -> None:
    log.append_control(producer_id, epoch, marker, coordinator_epoch=3, segment_bytes=1000, segment_ms=1 << 40)


@pytest.mark.parametrize("marker", Marker)
def test_a_control_batch_is_what_kafkas_format_says(marker: Marker) -> None:
    header, body = control_batch(7, 2, marker, 5, 1_700_000_000_000)
    data = stamped_prefix(header, 42, 0, header.crc) + body
    assert len(data) == header.size == CONTROL_BATCH_SIZE == 78
    reader = Reader(data)
    assert (reader.int64(), reader.int32(), reader.int32(), reader.int8()) == (42, 78 - 12, 0, 2)
    assert reader.int32() & 0xFFFFFFFF == crc_of(body)
    assert (reader.int16(), reader.int32()) == (0x30, 0)
    assert (reader.int64(), reader.int64()) == (1_700_000_000_000, 1_700_000_000_000)
    assert (reader.int64(), reader.int16(), reader.int32(), reader.int32()) == (7, 2, -1, 1)
    assert [reader.uvarint() for _ in range(5)] == [16 << 1, 0, 0, 0, 4 << 1]
    assert (reader.int16(), reader.int16()) == (0, int(marker))
    assert (reader.uvarint(), reader.int16(), reader.int32(), reader.uvarint()) == (6 << 1, 0, 5, 0)
    assert reader.rest() == b""
    assert marker_of(data) == (marker, 5)


def test_a_control_batch_of_another_kind_is_no_marker() -> None:
    header, body = control_batch(7, 2, Marker.ABORT, 5, 0)
    data = bytearray(stamped_prefix(header, 0, 0, header.crc) + body)
    data[61 + 8] = 2  # a leader change, as Raft's logs have it
    assert marker_of(bytes(data)) == (None, -1)


def test_the_last_stable_offset_waits_for_the_first_open_transaction(log: PartitionLog) -> None:
    seen: list[tuple[int, int]] = []
    steps: list[Callable[[], None]] = [
        lambda: write(log, ANN, 2),
        lambda: write(log, BOB),
        lambda: end(log, BOB, Marker.COMMIT),
        lambda: write(log, BOB),
        lambda: end(log, ANN, Marker.ABORT),
        lambda: end(log, BOB, Marker.COMMIT),
    ]
    for step in steps:
        step()
        log.expose()
        seen.append((log.high_watermark, log.last_stable_offset))
    assert seen == [(2, 0), (3, 0), (4, 0), (5, 0), (6, 4), (7, 7)]


def test_a_marker_counts_once_it_is_durable(log: PartitionLog) -> None:
    write(log, ANN)
    log.expose()
    end(log, ANN, Marker.COMMIT)
    assert (log.high_watermark, log.last_stable_offset) == (1, 0)
    log.expose()
    assert log.last_stable_offset == 2


def test_a_marker_of_nothing_leaves_no_trace(log: PartitionLog) -> None:
    end(log, ANN, Marker.ABORT)
    log.expose()
    assert (log.last_stable_offset, log.transactions.aborted, log.transactions.open) == (1, [], {})


def test_aborted_transactions_are_found_by_what_they_overlap(log: PartitionLog) -> None:
    write(log, ANN)  # 0
    write(log, BOB)  # 1
    end(log, ANN, Marker.ABORT)  # 2
    end(log, BOB, Marker.ABORT)  # 3
    write(log, ANN)  # 4
    end(log, ANN, Marker.ABORT)  # 5
    ann, bob, late = (
        AbortedTransaction(ANN, 0, 2, 1),
        AbortedTransaction(BOB, 1, 3, 4),
        AbortedTransaction(ANN, 4, 5, 6),
    )
    assert log.transactions.aborted == [ann, bob, late]
    found = {
        (start, stop): log.transactions.aborted_in(start, stop) for start, stop in ((0, 1), (0, 6), (3, 4), (4, 6))
    }
    assert found == {(0, 1): [ann], (0, 6): [ann, bob, late], (3, 4): [bob], (4, 6): [late]}
    assert log.transactions.aborted_in(6, 9) == []


def test_aborted_transactions_before_the_start_of_the_log_are_forgotten(log: PartitionLog) -> None:
    for _ in range(3):
        write(log, ANN, 3)
        end(log, ANN, Marker.ABORT)
    log.expose()
    log.delete_until(5)
    assert [one.first_offset for one in log.transactions.aborted] == [4, 8]


def test_committed_reads_end_before_the_open_transaction_over_segments_too(log: PartitionLog) -> None:
    for _ in range(30):
        write(log, ANN)
        end(log, ANN, Marker.COMMIT)
    write(log, BOB)
    for _ in range(30):
        write(log, ANN)
        end(log, ANN, Marker.COMMIT)
    log.expose()
    assert len(log.segments) > 3
    stable, offset, sizes = log.last_stable_offset, 0, 0
    assert (stable, log.high_watermark) == (60, 121)
    assert log.bytes_from(0, stable) < log.bytes_from(0)
    while data := log.read(offset, 500, at_least_one=True, until=stable):
        position = 0
        while position < len(data):
            header = read_header(data, position)
            assert header.base_offset == offset
            offset, position = header.last_offset + 1, position + header.size
        sizes += len(data)
    assert offset == stable
    assert sizes == log.bytes_from(0, stable)


def test_everything_is_known_again_after_a_restart(log: PartitionLog) -> None:
    write(log, ANN, 2)
    write(log, BOB, epoch=4)
    end(log, ANN, Marker.ABORT, epoch=1)
    log.close()
    again = PartitionLog(log.folder)
    again.recover(0)
    assert again.transactions.open == {BOB: 2}
    assert again.transactions.aborted == [AbortedTransaction(ANN, 0, 3, 2)]
    assert again.last_stable_offset == 2
    ann = again.producers.states[ANN]
    assert (ann.epoch, ann.coordinator_epoch, list(ann.batches)) == (1, 3, [])
    again.close()


def test_a_snapshot_holds_everything(log: PartitionLog) -> None:
    write(log, ANN, 2)
    write(log, BOB)
    end(log, ANN, Marker.ABORT)
    restored = Transactions()
    restored.restore(json.loads(json.dumps(log.transactions.snapshot())))
    assert restored.open == {BOB: 2}
    assert restored.aborted == log.transactions.aborted
    assert restored.last_stable(4) == 2


def test_producers_are_forgotten_by_age_but_not_with_a_transaction_open(log: PartitionLog) -> None:
    write(log, ANN)
    write(log, BOB)
    end(log, BOB, Marker.COMMIT)
    log.producers.expire(1 << 60, keep=log.transactions.open)
    assert set(log.producers.states) == {ANN}
