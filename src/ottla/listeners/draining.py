"""Partitions that take nothing more, and the end of what is in hand there."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from ottla.listeners.partition import Partition


def drain(workers: Iterable[Partition], timeout_s: float, log: logging.Logger) -> float:
    """Stops workers and waits for what is in hand. What takes longer is not waited for: it will be delivered again.

    Returns:
        When the time is over (monotonic seconds), for what else is to be done in it.
    """
    deadline, stopping = time.monotonic() + timeout_s, list(workers)
    for worker in stopping:
        worker.stop()
    late = [worker for worker in stopping if not worker.wait_stopped(max(0.0, deadline - time.monotonic()))]
    if late:
        log.warning(
            "records still in hand after %.1f s (listener.drain_timeout_s) will be delivered again: %s",
            timeout_s,
            ", ".join(f"{worker.topic}[{worker.partition}]" for worker in late),
        )
    for worker in late:
        worker.cancel()
    return deadline
