"""The quota `controller_mutation_rate`: how many partitions a client may create and delete in a second (KIP-599).

A bucket of tokens: it fills at that rate, holds eleven seconds' worth, and may be overdrawn once. While it is
overdrawn, new versions of CreateTopics, CreatePartitions and DeleteTopics are refused what they ask for; older ones,
whose clients do not know that answer, are served, and wait.
"""

from __future__ import annotations

from collections.abc import Callable

from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Message

BUCKET_SECONDS = 11.0  # controller.quota.window.num windows of controller.quota.window.size.seconds
EXCEEDED = "The throttling quota has been exceeded."
# The first version of an API whose clients know THROTTLING_QUOTA_EXCEEDED, by API key.
STRICT_SINCE = {19: 6, 20: 5, 37: 3}


class Bucket:
    """One owner's tokens. `now` is in seconds, `rate` in tokens a second."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, rate: float, now: float) -> None:
        self._tokens = rate * BUCKET_SECONDS
        self._at = now

    def take(self, count: int, rate: float, now: float) -> None:
        self._fill(rate, now)
        self._tokens -= count

    def wait(self, rate: float, now: float) -> float:
        """Seconds until the bucket is not overdrawn any more."""
        self._fill(rate, now)
        return max(-self._tokens / rate, 0.0)

    def _fill(self, rate: float, now: float) -> None:
        self._tokens = min(rate * BUCKET_SECONDS, self._tokens + rate * (now - self._at))
        self._at = now


class Mutations:
    """What one request takes out of its client's bucket.

    Args:
        bucket: The client's.
        rate: Its quota, partitions a second.
        strict: Whether the request is refused what is too much.
        clock: Seconds.
    """

    def __init__(self, bucket: Bucket, rate: float, clock: Callable[[], float], *, strict: bool) -> None:
        self._bucket = bucket
        self._rate = rate
        self._clock = clock
        self._strict = strict
        self.wait = 0.0  # seconds that the client has to wait

    def refuses(self, partitions: int) -> bool:
        """Counts partitions that are about to be made or removed; whether they may not be."""
        now = self._clock()
        if self._strict:
            self.wait = self._bucket.wait(self._rate, now)
            if self.wait > 0:
                return True
            self._bucket.take(partitions, self._rate, now)
            return False
        self._bucket.take(partitions, self._rate, now)
        self.wait = self._bucket.wait(self._rate, now)
        return False


def refusal() -> Message:
    """The part of an answer that says so."""
    return {"error_code": ErrorCode.THROTTLING_QUOTA_EXCEEDED, "error_message": EXCEEDED}
