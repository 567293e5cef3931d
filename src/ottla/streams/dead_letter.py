"""The headers of a dead letter of a stream application: the same as the listeners write."""

from __future__ import annotations

import hashlib
import struct
import traceback

from ottla.streams.errors_policy import Failure
from ottla.streams.records import Headers, RawRecord

ORIGIN = "kafka_dlt-original-topic"
_BYTES_MAX = 8192


def dead_letter_headers(record: RawRecord, failure: Failure, *, application_id: str) -> Headers:
    """The record's own headers, then where it was and what happened; spring-kafka's names (`KafkaHeaders.DLT_*`).

    An output that was refused was nowhere: its partition and offset are -1.
    """
    error = failure.error
    trace = "".join(traceback.format_exception(error)).encode(errors="replace")
    headers: Headers = [
        *record.headers,
        (ORIGIN, record.topic.encode()),
        ("kafka_dlt-original-partition", struct.pack(">i", record.partition)),
        ("kafka_dlt-original-offset", struct.pack(">q", record.offset)),
        ("kafka_dlt-original-timestamp", struct.pack(">q", record.timestamp_ms)),
        ("kafka_dlt-original-timestamp-type", b"CreateTime"),
        ("kafka_dlt-original-consumer-group", application_id.encode()),
        ("kafka_dlt-exception-fqcn", _qualified(error)),
        ("kafka_dlt-exception-message", str(error).encode(errors="replace")[:_BYTES_MAX]),
        ("kafka_dlt-exception-stacktrace", trace[-_BYTES_MAX:]),
        ("ottla-attempts", str(failure.attempts).encode()),
        ("ottla-handler", failure.operator.encode()),
        ("ottla-service", application_id.encode()),
        ("ottla-event-id", _identity(record).encode()),
    ]
    if error.__cause__ is not None:
        headers.append(("kafka_dlt-exception-cause-fqcn", _qualified(error.__cause__)))
    return headers


def _identity(record: RawRecord) -> str:
    if record.offset >= 0:
        return f"{record.topic}-{record.partition}-{record.offset}"
    bytes_of = hashlib.blake2b((record.key or b"") + b"\0" + (record.value or b""), digest_size=8)
    return f"{record.topic}-{bytes_of.hexdigest()}"


def _qualified(error: BaseException) -> bytes:
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}".encode()
