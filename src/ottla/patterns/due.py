"""When something is due: a delay or a moment, in milliseconds since 1970."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def due_ms(delay: timedelta | None, at: datetime | None) -> int | None:
    """When an event is to be published; None for at once. Rounded up: early is never right.

    Raises:
        ValueError: Both are given, or `at` is naive (it would mean another instant elsewhere), or the delay is below 0.
    """
    if delay is not None and at is not None:
        raise ValueError("give delay or at, not both")
    if delay is not None:
        if delay < timedelta(0):
            raise ValueError(f"delay={delay}: it cannot be below zero")
        return math.ceil(time.time_ns() / 1_000_000) + math.ceil(delay / timedelta(milliseconds=1))
    if at is None:
        return None
    if at.tzinfo is None:
        raise ValueError(f"at={at!r} must be aware (datetime.now(UTC) + ...)")
    return math.ceil((at - _EPOCH) / timedelta(milliseconds=1))
