"""Requests over Kafka, on the side that answers: what a handler returns goes where the request asks for it.

The headers are spring-kafka's (`KafkaHeaders`): a ReplyingKafkaTemplate may ask, and one of its listeners may answer.
"""

from __future__ import annotations

from ottla.kafka.record import Headers
from ottla.listeners.outputs import Outgoing

REPLY_TOPIC = "kafka_replyTopic"
REPLY_PARTITION = "kafka_replyPartition"
"""Four bytes, big-endian; without it the partition goes by the key."""

CORRELATION_ID = "kafka_correlationId"
"""Any bytes; the answer repeats them."""

FAILURE = "ottla-reply-failure"
"""On an answer without value: the full name of the exception that the handler failed with for good."""

FAILURE_MESSAGE = "ottla-reply-failure-message"

MESSAGE_BYTES_MAX = 4096


class ReplyAddress:
    """Where the answer to a request goes."""

    __slots__ = ("_correlation", "partition", "topic")

    def __init__(self, topic: str, partition: int, correlation: bytes | None) -> None:
        self.topic = topic
        self.partition = partition
        self._correlation = correlation

    def addressed(self, answer: Outgoing) -> Outgoing:
        """An output as an answer."""
        headers = (
            answer.headers if self._correlation is None else [*answer.headers, (CORRELATION_ID, self._correlation)]
        )
        return Outgoing(self.topic, answer.key, answer.value, headers, self.partition)

    def failure(self, key: bytes | None, error: BaseException) -> Outgoing:
        """The answer that there will be none."""
        kind = type(error)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        message = str(error).encode("utf-8", "replace")[:MESSAGE_BYTES_MAX]
        return self.addressed(Outgoing(self.topic, key, None, [(FAILURE, name.encode()), (FAILURE_MESSAGE, message)]))


def reply_address(headers: Headers | None) -> ReplyAddress | None:
    """Where the record asks its answer to be sent; None if it does not ask. A copy in a retry topic asks as well."""
    for name, _ in headers or ():
        if name == REPLY_TOPIC:
            break
    else:
        return None
    found = dict(headers or ())
    topic, partition = found[REPLY_TOPIC], found.get(REPLY_PARTITION)
    if not topic:
        return None
    return ReplyAddress(
        topic.decode("utf-8", "replace"),
        int.from_bytes(partition, "big", signed=True) if partition is not None and len(partition) == 4 else -1,
        found.get(CORRELATION_ID),
    )
