"""Retention by age and by size."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla.broker import retention
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.recovery import now_ms
from ottla.broker.topic_configs import TopicConfig
from tests.broker.batches import batch, parts

HOUR_MS = 3_600_000


@pytest.fixture
def log(tmp_path: Path) -> PartitionLog:
    """Offsets 0 to 5, a segment each; 0 to 2 are two hours old, 3 to 5 are new."""
    log = PartitionLog(tmp_path)
    for number in range(6):
        time = now_ms() - (2 * HOUR_MS if number < 3 else 0)
        log.append(*parts(batch([b"x" * 100], timestamps=[time])), stamp=False, segment_bytes=1, segment_ms=1 << 30)
    log.expose()
    return log


def config(**settings: str) -> TopicConfig:
    return TopicConfig({name.replace("_", "."): value for name, value in settings.items()}, {})


def test_segments_whose_newest_record_is_too_old_go(log: PartitionLog) -> None:
    gone = retention.apply(config(retention_ms=str(HOUR_MS)), log)
    assert [segment.base_offset for segment in gone] == [0, 1, 2]
    assert log.start_offset == 3


def test_what_is_young_enough_stays(log: PartitionLog) -> None:
    assert retention.apply(config(retention_ms=str(3 * HOUR_MS)), log) == []


def test_without_limits_everything_stays(log: PartitionLog) -> None:
    assert retention.apply(config(retention_ms="-1", retention_bytes="-1"), log) == []


def test_the_oldest_segments_go_until_the_size_fits_but_never_below_it(log: PartitionLog) -> None:
    one = log.segments[0].size
    gone = retention.apply(config(retention_ms="-1", retention_bytes=str(3 * one + 1)), log)
    assert len(gone) == 2
    assert log.size == 4 * one


def test_when_all_is_too_old_the_offsets_still_go_on(tmp_path: Path) -> None:
    log = PartitionLog(tmp_path)
    for _ in range(3):
        log.append(*parts(batch(timestamps=[0])), stamp=False, segment_bytes=1, segment_ms=1 << 30)
    log.expose()
    gone = retention.apply(config(retention_ms="1"), log)
    assert [segment.base_offset for segment in gone] == [0, 1, 2]
    assert log.read(0, 1 << 20, at_least_one=True) == b""
    log.append(*parts(batch()), stamp=False, segment_bytes=1, segment_ms=1 << 30)
    log.expose()
    assert (log.start_offset, log.next_offset) == (3, 4)
    for segment in gone:
        segment.delete()
    again = PartitionLog(log.folder)
    again.recover(log.start_offset)
    assert (again.start_offset, again.next_offset) == (3, 4)


def test_a_compacted_topic_keeps_everything(log: PartitionLog) -> None:
    assert retention.apply(config(cleanup_policy="compact", retention_ms="1"), log) == []


def test_what_is_not_durable_is_not_removed(tmp_path: Path) -> None:
    log = PartitionLog(tmp_path)
    for _ in range(3):
        log.append(*parts(batch(timestamps=[0])), stamp=False, segment_bytes=1, segment_ms=1 << 30)
    assert retention.apply(config(retention_ms="1"), log) == []
