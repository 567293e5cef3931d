"""Finding offsets by time, record by record, in plain and compressed batches."""

from __future__ import annotations

import gzip
from pathlib import Path

import cramjam
import pytest

from ottla.broker.log import compression, lookup
from ottla.broker.log.batch import read_header
from ottla.broker.log.compression import Unopened, open_records
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.records import has_record_without_key, record_heads
from tests.broker.batches import T0, batch, parts, record

VALUES = [b"x" * 40, b"y" * 40, b"z" * 40]
TIMES = [T0, T0 + 10, T0 + 20]
PLAIN = b"".join(record(i, TIMES[i] - T0, b"key", VALUES[i]) for i in range(3))


@pytest.fixture
def log(tmp_path: Path) -> PartitionLog:
    """Offsets 0 to 8 at T0, T0+10, ... T0+80, three to a batch, in segments of two batches."""
    log = PartitionLog(tmp_path)
    for number in range(3):
        times = [time + 30 * number for time in TIMES]
        log.append(*parts(batch(VALUES, timestamps=times)), stamp=False, segment_bytes=500, segment_ms=1 << 30)
    log.expose()
    return log


@pytest.mark.parametrize(
    ("asked", "offset"),
    [(0, 0), (T0, 0), (T0 + 1, 1), (T0 + 30, 3), (T0 + 55, 6), (T0 + 80, 8)],
    ids=["zero", "first", "between", "another batch", "another segment", "last"],
)
def test_the_first_record_at_or_after_a_time_is_found(log: PartitionLog, asked: int, offset: int) -> None:
    assert lookup.first_at_or_after(log, asked) == (T0 + 10 * offset, offset)


def test_after_the_last_record_there_is_none(log: PartitionLog) -> None:
    assert lookup.first_at_or_after(log, T0 + 81) == (-1, -1)


def test_deleted_records_are_not_found(log: PartitionLog) -> None:
    log.delete_until(4)
    assert lookup.first_at_or_after(log, 0) == (T0 + 40, 4)


def test_the_largest_timestamp_is_found_where_it_is(log: PartitionLog) -> None:
    late = batch(VALUES, timestamps=[T0 + 1, T0 + 999, T0 + 2])
    log.append(*parts(late), stamp=False, segment_bytes=500, segment_ms=1 << 30)
    assert lookup.largest_timestamp(log) == (T0 + 80, 8)
    log.expose()
    assert lookup.largest_timestamp(log) == (T0 + 999, 10)


def snappy_blocks(data: bytes) -> bytes:
    """As Java writes snappy: its own header, then blocks."""
    out = b"\x82SNAPPY\x00" + (1).to_bytes(4, "big") * 2
    for start in range(0, len(data), 50):
        block = bytes(cramjam.snappy.compress_raw(data[start : start + 50]))
        out += len(block).to_bytes(4, "big") + block
    return out


@pytest.mark.parametrize(
    ("codec", "records"),
    [
        (2, bytes(cramjam.snappy.compress_raw(PLAIN))),
        (2, snappy_blocks(PLAIN)),
        (3, bytes(cramjam.lz4.compress(PLAIN))),
    ],
    ids=["snappy", "snappy blocks", "lz4"],
)
def test_compressed_batches_are_looked_into(codec: int, records: bytes) -> None:
    data = batch(VALUES, timestamps=TIMES, codec=codec, records=records)
    heads = list(record_heads(data, read_header(data)))
    assert [(head.offset, head.timestamp) for head in heads] == [(0, T0), (1, T0 + 10), (2, T0 + 20)]


def test_gzip_batches_are_looked_into() -> None:
    data = batch(VALUES, timestamps=TIMES, codec=1)
    assert [head.timestamp for head in record_heads(data, read_header(data))] == TIMES


@pytest.mark.parametrize("size", [0, 1, 5, 64, 1000, 70_000, 300_000])
@pytest.mark.parametrize("kind", ["repeats", "random", "mixed"])
def test_lz4_and_snappy_open_what_their_libraries_made(size: int, kind: str) -> None:
    import random

    source = random.Random(size)
    noise = source.randbytes(size)
    data = {
        "repeats": (b"abcabcabd" * size)[:size],
        "random": noise,
        "mixed": (noise[:100] + b"q" * 300) * (size // 400),
    }
    assert open_records(2, bytes(cramjam.snappy.compress_raw(data[kind]))) == data[kind]
    assert open_records(3, bytes(cramjam.lz4.compress(data[kind]))) == data[kind]


@pytest.mark.parametrize("codec", [1, 2, 3, 4, 5])
def test_bytes_no_codec_made_are_not_opened(codec: int) -> None:
    with pytest.raises(Unopened):
        open_records(codec, b"\xff" * 40)


@pytest.mark.parametrize("codec", [1, 2, 3])
def test_a_batch_that_opens_to_too_much_is_not_opened(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(100_000)
    packed = {1: gzip.compress, 2: cramjam.snappy.compress_raw, 3: cramjam.lz4.compress}[codec](data)
    assert open_records(codec, bytes(packed)) == data
    monkeypatch.setattr(compression, "OPENED_BYTES_MAX", 50_000)
    with pytest.raises(Unopened):
        open_records(codec, bytes(packed))


def test_a_record_without_key_is_noticed() -> None:
    for key, codec in ((b"key", 0), (None, 0), (None, 1), (b"", 1)):
        data = batch(key=key, codec=codec)
        assert has_record_without_key(memoryview(data), read_header(data)) is (key is None)
