"""Produce (0), versions 3 to 13: appends record batches.

One batch per partition and request, as every client sends it. The batch stays opaque: its header and CRC are checked,
its offset and leader epoch are patched in place. Checked, with Kafka's answers: CRC (CORRUPT_MESSAGE), length,
magic, base offset and counts (INVALID_RECORD), max.message.bytes (MESSAGE_TOO_LARGE), segment.bytes as it will be
stored (RECORD_LIST_TOO_LARGE), timestamps ahead of the clock by more than the topic allows (INVALID_TIMESTAMP),
sequence and epoch of idempotent producers (45, 47), a record without key on a compacted topic (INVALID_RECORD, where
the codec can be opened here), an unknown topic or id.

acks=0 gets no reply; a refused batch closes the connection. acks=1 and acks=all are answered once the batch is as
durable as the broker's flush policy promises; with one node they mean the same. A failed write is KAFKA_STORAGE_ERROR,
and nothing of the batch is kept.

Where the topic's `compression.type` is not `producer`, the records are compressed again; what cannot be opened here is
UNSUPPORTED_COMPRESSION_TYPE.

Transactional batches must belong to an open transaction of the request's transactional id; from version 12 on they add
their partition to it (see transactions/admission.py for the errors). While it is open, its producer may write nothing
else to the partition (INVALID_TXN_STATE).
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from ottla.broker.broker import Broker
from ottla.broker.catalog import Topic
from ottla.broker.connection import Call
from ottla.broker.log import recompression, records
from ottla.broker.log.batch import CRC_FROM, HEADER_SIZE, MAGIC, TRANSACTIONAL, BatchHeader, crc_of, read_header
from ottla.broker.log.compression import Unopened
from ottla.broker.log.journal import Journal
from ottla.broker.log.partition_log import Appended, PartitionLog
from ottla.broker.log.producers import Refused
from ottla.broker.log.recovery import now_ms
from ottla.broker.transactions.admission import admit
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.produce import PRODUCE
from ottla.broker.wire.schema import Message

logger = logging.getLogger("ottla.broker")

API = PRODUCE
ACKS = (-1, 0, 1)
ZSTD, ZSTD_SINCE = 4, 7
LATE_BYTES = 256 << 10
LEAST_RECORD_BYTES = 7  # length, attributes, two deltas, lengths of key and value, count of headers


def handle(broker: Broker, call: Call) -> Message | None:
    body = call.body
    acks = body["acks"]
    touched: list[PartitionLog | Journal] = []
    answers: list[Message] = []
    for data in body["topic_data"]:
        topic = broker.topic(data["name"], data["topic_id"] if call.version >= 13 else None)
        partitions = [_append(broker, topic, part, call, touched) for part in data["partition_data"]]
        answers.append({"name": data["name"], "topic_id": data["topic_id"], "partition_responses": partitions})
    # The records lie in a buffer that the next request overwrites: let go of them before waiting.
    call.body = {}
    if acks == 0:
        for what in touched:
            _when_written(broker, what, _nothing)
        _finish_unanswered(call, answers)
        return None
    reply = {"responses": answers}
    if not touched:
        return reply
    _Acknowledgement(broker, call, reply, touched)
    return None


def _nothing() -> None:
    """acks=0: nobody waits."""


def _finish_unanswered(call: Call, answers: list[Message]) -> None:
    """With acks=0 a closed connection is the only way to tell the client that something went wrong, as in Kafka."""
    refused = [part for answer in answers for part in answer["partition_responses"] if part["error_code"]]
    call.finish()
    if refused:
        logger.warning(
            "closing the connection from %s: a batch sent with acks=0 was refused: %s", call.client_host, refused
        )
        call.connection.close()


def _when_written(broker: Broker, what: PartitionLog | Journal, done: Callable[[], None]) -> None:
    if isinstance(what, PartitionLog):
        broker.appended(what, done)
    else:
        broker.durable(what, done)


class _Acknowledgement:
    """Answers once all partitions of a request are durable."""

    __slots__ = ("call", "left", "reply")

    def __init__(self, broker: Broker, call: Call, reply: Message, written: list[PartitionLog | Journal]) -> None:
        self.call = call
        self.reply = reply
        self.left = len(written)
        for what in written:
            _when_written(broker, what, self.one_done)

    def one_done(self) -> None:
        self.left -= 1
        if not self.left:
            self.call.reply(self.reply)


def _append(
    broker: Broker, topic: Topic | None, part: Message, call: Call, touched: list[PartitionLog | Journal]
) -> Message:
    index = part["index"]
    log = topic.partition(index) if topic else None
    if topic is None or log is None:
        by_id = call.version >= 13 and topic is None
        return _refusal(index, ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    if call.body["acks"] not in ACKS:
        return _refusal(index, ErrorCode.INVALID_REQUIRED_ACKS)
    late = _is_checked_late(broker, topic, part["records"])
    try:
        header, body = _checked(topic, part["records"], call, late=late)
        check = partial(_check_crc, header, body) if late else None
        if header.attributes & TRANSACTIONAL:
            journal = admit(
                broker.transactions, call.body["transactional_id"], header, log, (topic.name, index), call.version
            )
            if journal is not None:
                touched.append(journal)
        duplicate = log.duplicate_of(header)
        if duplicate is not None:
            if check is not None:
                check()
            touched.append(log)  # the first copy may still be on its way to the disk
            stamp = duplicate.timestamp if topic.config.log_append_time else -1
            return _accepted(index, log, Appended(duplicate.base_offset, stamp))
        config = topic.config
        if config.codec is not None and config.codec != header.codec:
            header, body = _recompressed(topic, header, part["records"])
        if header.size > config.segment_bytes:
            message = f"a batch of {header.size} bytes, segment.bytes of the topic is {config.segment_bytes}"
            raise Refused(ErrorCode.RECORD_LIST_TOO_LARGE, message)
        appended = log.append(
            header,
            body,
            stamp=config.log_append_time,
            segment_bytes=config.segment_bytes,
            segment_ms=config.segment_ms,
            check=check,
        )
    except Refused as refused:
        if late and refused.code != ErrorCode.CORRUPT_MESSAGE and not _is_intact(part["records"]):
            refused = _damaged()  # whatever else a damaged batch says means nothing
        return _refusal(index, refused.code, str(refused))
    except OSError as error:
        logger.error("%s: a batch could not be written: %s", log.folder, error)
        return _refusal(index, ErrorCode.KAFKA_STORAGE_ERROR, f"the batch could not be written: {error.strerror}")
    touched.append(log)
    metrics = broker.metrics
    metrics.records_produced += header.record_count
    metrics.bytes_produced += header.size
    return _accepted(index, log, appended)


def _accepted(index: int, log: PartitionLog, appended: Appended) -> Message:
    return {
        "index": index,
        "error_code": ErrorCode.NONE,
        "base_offset": appended.base_offset,
        "log_append_time_ms": appended.log_append_time,
        "log_start_offset": log.start_offset,
    }


def _refusal(index: int, code: ErrorCode, message: str | None = None) -> Message:
    return {"index": index, "error_code": code, "base_offset": -1, "error_message": message}


def _is_checked_late(broker: Broker, topic: Topic, data: Any) -> bool:
    """Whether the checksum is computed while the disk writes: only of batches whose writing takes a while.

    What depends on more of the batch than its place in the log has it checked first.
    """
    if data is None or len(data) < LATE_BYTES or broker.config.flush != "ack":
        return False
    attributes = read_header(data).attributes
    config = topic.config
    return not (attributes & TRANSACTIONAL or config.log_append_time or config.compact or config.codec is not None)


def _is_intact(data: Any) -> bool:
    return crc_of(data[CRC_FROM:]) == read_header(data).crc


def _check_crc(header: BatchHeader, body: memoryview) -> None:
    if crc_of(body) != header.crc:
        raise _damaged()


def _damaged() -> Refused:
    return Refused(ErrorCode.CORRUPT_MESSAGE, "the batch's checksum does not match")


def _checked(topic: Topic, data: Any, call: Call, *, late: bool) -> tuple[BatchHeader, memoryview]:
    """Header and body of the one batch in `data`, after all checks but the producer's sequence. Raises Refused.

    With `late` the checksum is left to the caller.
    """
    if data is None or len(data) == 0:
        raise Refused(ErrorCode.INVALID_RECORD, "the request holds no records for this partition")
    try:
        header = read_header(data)
    except struct.error:
        raise Refused(ErrorCode.CORRUPT_MESSAGE, f"{len(data)} bytes are too few for a record batch") from None
    if header.magic != MAGIC:
        code = ErrorCode.INVALID_RECORD if 0 <= header.magic < MAGIC else ErrorCode.CORRUPT_MESSAGE
        raise Refused(code, f"record batches must have magic {MAGIC}, not {header.magic}")
    if header.size < HEADER_SIZE:
        raise Refused(ErrorCode.CORRUPT_MESSAGE, f"the batch claims {header.size} bytes, its header alone has more")
    if header.size != len(data):
        message = f"a request holds one record batch for each partition; its {header.size} bytes, {len(data)} were sent"
        raise Refused(ErrorCode.INVALID_RECORD, message)
    if header.size > topic.config.max_message_bytes:
        raise Refused(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"a batch of {header.size} bytes, max.message.bytes of the topic is {topic.config.max_message_bytes}",
        )
    body = data[CRC_FROM:]
    if not late:
        _check_crc(header, body)
    _check_fields(header, call)
    _check_timestamps(topic, header)
    if topic.config.compact and records.has_record_without_key(data, header):
        raise Refused(ErrorCode.INVALID_RECORD, "a record without key on a topic with cleanup.policy=compact")
    return header, body


def _recompressed(topic: Topic, header: BatchHeader, data: Any) -> tuple[BatchHeader, memoryview]:
    """The batch in the codec that the topic wants (`compression.type`). Raises Refused."""
    config = topic.config
    assert config.codec is not None
    try:
        header, body = recompression.recompressed(header, bytes(data), config.codec, config.compression_level)
    except (Unopened, ImportError) as error:
        message = f"compression.type of the topic is {config.get('compression.type')}, but the batch: {error}"
        raise Refused(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, message) from error
    if header.size > config.max_message_bytes:
        message = (
            f"a batch of {header.size} bytes when compressed anew, max.message.bytes is {config.max_message_bytes}"
        )
        raise Refused(ErrorCode.MESSAGE_TOO_LARGE, message)
    return header, body


def _check_fields(header: BatchHeader, call: Call) -> None:
    if header.base_offset:
        message = f"a batch's base offset must be 0 for the broker to give it one, it is {header.base_offset}"
        raise Refused(ErrorCode.INVALID_RECORD, message)
    if header.record_count < 1 or header.last_offset_delta != header.record_count - 1:
        raise Refused(
            ErrorCode.INVALID_RECORD,
            f"the batch counts {header.record_count} records, its last offset delta is {header.last_offset_delta}",
        )
    if not header.codec and header.record_count * LEAST_RECORD_BYTES > header.size - HEADER_SIZE:
        message = f"{header.record_count} records do not fit into {header.size - HEADER_SIZE} bytes"
        raise Refused(ErrorCode.INVALID_RECORD, message)
    if header.is_control:
        raise Refused(ErrorCode.INVALID_RECORD, "clients may not write control batches")
    if header.producer_id >= 0 and (header.producer_epoch < 0 or header.base_sequence < 0):
        raise Refused(ErrorCode.INVALID_RECORD, "an idempotent batch needs an epoch and a sequence")
    if header.codec > ZSTD or (header.codec == ZSTD and call.version < ZSTD_SINCE):
        raise Refused(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"compression codec {header.codec}")


def _check_timestamps(topic: Topic, header: BatchHeader) -> None:
    config = topic.config
    if config.log_append_time:
        return
    now = now_ms()
    latest, earliest = now + config.timestamp_after_max_ms, now - config.timestamp_before_max_ms
    if header.max_timestamp > latest or 0 <= header.base_timestamp < earliest:
        raise Refused(
            ErrorCode.INVALID_TIMESTAMP,
            f"timestamp {header.max_timestamp} is not between {earliest} and {latest}, as the topic's settings want it",
        )
