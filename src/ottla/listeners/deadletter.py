"""The dead-letter record: the original bytes, and headers that say where it came from and why it is here.

The `kafka_dlt-*` names are spring-kafka's (`KafkaHeaders.DLT_*`), so that tools written for it read ours. Numbers are
big-endian as spring writes them: partition 4 bytes, offset and timestamp 8.
"""

from __future__ import annotations

import struct
import traceback

from ottla.kafka.record import Headers, Message

STACKTRACE_BYTES_MAX = 8192
"""A dead letter carries the record's bytes besides: a long trace must not push it over `max.message.bytes`."""

MESSAGE_BYTES_MAX = 8192
"""The same of its message: validators like to quote the whole input."""

_TIMESTAMP_TYPES = {0: b"NoTimestampType", 1: b"CreateTime", 2: b"LogAppendTime"}


def dead_letter_topic(topic: str) -> str:
    """`orders` gives `orders-dlq`."""
    return f"{topic}-dlq"


def dead_letter_headers(
    message: Message, error: BaseException, *, group: str, service: str, handler: str, attempts: int, event_id: str
) -> Headers:
    """The headers of a dead letter: those of the record, then where it was and what happened."""
    kind, timestamp = message.timestamp()
    cause = error.__cause__
    trace = "".join(traceback.format_exception(error)).encode(errors="replace")
    headers: Headers = [
        *(message.headers() or ()),
        ("kafka_dlt-original-topic", message.topic().encode()),
        ("kafka_dlt-original-partition", struct.pack(">i", message.partition())),
        ("kafka_dlt-original-offset", struct.pack(">q", message.offset())),
        ("kafka_dlt-original-timestamp", struct.pack(">q", timestamp)),
        ("kafka_dlt-original-timestamp-type", _TIMESTAMP_TYPES.get(kind, b"NoTimestampType")),
        ("kafka_dlt-original-consumer-group", group.encode()),
        ("kafka_dlt-exception-fqcn", _qualified(error)),
        ("kafka_dlt-exception-message", _message(error)[:MESSAGE_BYTES_MAX]),
        # The end of a trace is where the cause stands.
        ("kafka_dlt-exception-stacktrace", trace[-STACKTRACE_BYTES_MAX:]),
        ("ottla-attempts", str(attempts).encode()),
        ("ottla-handler", handler.encode()),
        ("ottla-service", service.encode()),
        ("ottla-event-id", event_id.encode()),
    ]
    if cause is not None:
        headers.append(("kafka_dlt-exception-cause-fqcn", _qualified(cause)))
    return headers


def _message(error: BaseException) -> bytes:
    try:
        return str(error).encode(errors="replace")
    except Exception as broken:
        return f"(its __str__ raised {type(broken).__name__})".encode()


def _qualified(error: BaseException) -> bytes:
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}".encode()
