"""Time and size retention: old segments go, whole ones only; offsets go on where they were."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.recovery import now_ms
from ottla.broker.log.segment import Segment
from ottla.broker.topic_configs import TopicConfig

logger = logging.getLogger("ottla.broker")


def apply(config: TopicConfig, log: PartitionLog) -> list[Segment]:
    """Takes the segments out of a log that its topic's retention no longer keeps; the caller removes them."""
    if not log.segments or log.cleaning:
        return []
    if not config.delete:
        return log.delete_until(log.start_offset)  # what DeleteRecords left behind
    until = max(_expired_until(config.retention_ms, log), _oversize_until(config.retention_bytes, log))
    until = min(until, log.high_watermark)
    if until <= log.start_offset:
        return log.delete_until(log.start_offset)
    if until >= log.next_offset:
        log.roll_for_retention()
    logger.info("%s: retention removes records before offset %d", log.folder, until)
    return log.delete_until(until)


def _expired_until(retention_ms: int, log: PartitionLog) -> int:
    """The first offset to keep by age; a segment's age is that of its newest record."""
    until = log.start_offset
    if retention_ms < 0:
        return until
    limit = now_ms() - retention_ms
    for number, segment in enumerate(log.segments):
        if segment.size and segment.max_timestamp >= limit:
            break
        last = number + 1 == len(log.segments)
        until = log.next_offset if last else log.segments[number + 1].base_offset
    return until


def _oversize_until(retention_bytes: int, log: PartitionLog) -> int:
    """The first offset to keep by size; what is left is never smaller than the limit."""
    until = log.start_offset
    if retention_bytes < 0:
        return until
    excess = log.size - retention_bytes
    for number, segment in enumerate(log.segments):
        if excess < segment.size:
            break
        excess -= segment.size
        last = number + 1 == len(log.segments)
        until = log.next_offset if last else log.segments[number + 1].base_offset
    return until


def remove_folder(path: Path) -> None:
    """Removes a folder and all in it, if it is there."""
    shutil.rmtree(path, ignore_errors=True)
