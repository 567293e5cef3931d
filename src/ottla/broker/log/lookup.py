"""Finding offsets by time. The index narrows it down, batch headers further, records decide."""

from __future__ import annotations

from ottla.broker.log.batch import BatchHeader
from ottla.broker.log.compression import Unopened
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.records import record_heads
from ottla.broker.log.segment import Segment

Found = tuple[int, int]  # timestamp, offset
NOTHING: Found = (-1, -1)


def first_at_or_after(log: PartitionLog, timestamp: int) -> Found:
    """The first visible record with this timestamp (ms) or a later one; (-1, -1) if there is none."""
    for segment in log.segments:
        if segment.max_timestamp < timestamp:
            continue
        for position, header in segment.headers(segment.position_before_time(timestamp)):
            if header.max_timestamp < timestamp or header.last_offset < log.start_offset:
                continue
            if header.base_offset >= log.high_watermark:
                return NOTHING
            found = _in_batch(segment, position, header, timestamp, log.start_offset)
            if found is not None:
                return found
    return NOTHING


def _in_batch(segment: Segment, position: int, header: BatchHeader, timestamp: int, start: int) -> Found | None:
    try:
        for record in record_heads(segment.read(position, header.size), header):
            if record.timestamp >= timestamp and record.offset >= start:
                return record.timestamp, record.offset
    except Unopened:
        return header.base_timestamp, max(header.base_offset, start)
    return None


def largest_timestamp(log: PartitionLog) -> Found:
    """The earliest visible record with the largest timestamp of the log; (-1, -1) if the log is empty."""
    best = max((segment.max_timestamp for segment in log.segments if segment.size), default=-1)
    while best >= 0:
        found = first_at_or_after(log, best)
        if found != NOTHING:
            return found
        # Only records that are not durable yet have it: look at what is visible, batch by batch.
        best = _largest_visible(log, best)
    return NOTHING


def _largest_visible(log: PartitionLog, below: int) -> int:
    largest = -1
    for segment in log.segments:
        for _, header in segment.headers():
            if log.start_offset <= header.last_offset < log.high_watermark and header.max_timestamp < below:
                largest = max(largest, header.max_timestamp)
    return largest
