"""Goes on from another offset of a partition, with nothing of the old place left in hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ottla.errors import KafkaError
from ottla.kafka.consumer import TopicPartition
from ottla.listeners.control import Target
from ottla.listeners.exactly_once import ExactlyOnce
from ottla.listeners.partition import Partition
from ottla.listeners.retry_flow import RetryFlow

Place = tuple[str, int]

ANSWER_S = 10.0
AGAIN_S = 0.05
"""The client library refuses to seek in a partition that it has not begun to fetch; that takes a moment."""


def seek(
    place: Place,
    to: Target,
    *,
    consumer: Any,
    workers: dict[Place, Partition],
    again: Callable[[Place], Partition],
    drain_s: float,
    flush: Callable[[float], object],
    exactly_once: ExactlyOnce | None,
    retries: RetryFlow | None,
) -> int:
    """On the consumer thread. See Control.seek.

    Where the order of keys is kept, the partitions of the retry topics begin anew as well, from where they are: what is
    known of them is tied to what was in hand.
    """
    if place not in workers:
        have = ", ".join(f"{topic}[{partition}]" for topic, partition in sorted(workers)) or "none"
        raise KafkaError(f"{place[0]}[{place[1]}] is not assigned to this member, which has {have}")
    offset = _resolved(consumer, place, to)
    family = retries.together(place) if retries is not None else [place]
    deadline = time.monotonic() + drain_s
    for one in family:
        workers[one].stop()
    for one in family:
        if not workers[one].wait_stopped(max(0.0, deadline - time.monotonic())):
            workers[one].cancel()
    # Copies on their way to retry topics must lie there before these are read again.
    flush(max(0.0, deadline - time.monotonic()))
    exact = exactly_once is not None and exactly_once.knows(place)
    if exact and exactly_once is not None:
        exactly_once.leaving({one: workers[one] for one in family})
        exactly_once.commit(workers, again, leaving=family)
    for one in family:
        if one == place:
            _begin_anew(one, offset, "", consumer, workers, again, commit=True)
        else:
            where, metadata = _reached(workers[one], retries)
            _begin_anew(one, where, metadata, consumer, workers, again, commit=not exact)
        if exactly_once is not None and exact:
            exactly_once.assigned(one)
    if retries is not None:
        retries.begin_anew(place)
    return offset


def _reached(worker: Partition, retries: RetryFlow | None) -> tuple[int | None, str]:
    """Where a partition of a retry topic goes on, and which records behind are finished; None: as nothing has come."""
    progress, position = worker.tracker.progress, worker.tracker.next_offset
    if progress is not None:
        return progress.offset, progress.metadata
    if position is None and retries is not None:
        position = retries.first_on_shelf((worker.topic, worker.partition))
    return position, ""


def _begin_anew(
    place: Place,
    position: int | None,
    metadata: str,
    consumer: Any,
    workers: dict[Place, Partition],
    again: Callable[[Place], Partition],
    *,
    commit: bool,
) -> None:
    """Puts a new worker in the old one's place; the records from `position` on come again."""
    old = workers[place]
    if position is not None:
        target = TopicPartition(*place, position, metadata)
        if commit:
            answers = consumer.commit(offsets=[target], asynchronous=False)
            failure = next((one.error for one in answers or () if one.error), None)
            if failure is not None:
                raise KafkaError(f"offset {position} of {place[0]}[{place[1]}] could not be committed: {failure}")
        _seek(consumer, target)
    fresh = workers[place] = again(place)
    fresh.paused = old.paused
    if position is not None and metadata:
        fresh.tracker.restore(position, metadata)
    fresh.start()


def _seek(consumer: Any, target: Any) -> None:
    deadline = time.monotonic() + ANSWER_S
    while True:
        try:
            consumer.seek(target)
            return
        except Exception as error:
            if time.monotonic() > deadline:
                raise KafkaError(f"cannot go to offset {target.offset} of {target.topic}: {error}") from error
            time.sleep(AGAIN_S)


def _resolved(consumer: Any, place: Place, to: Target) -> int:
    try:
        if isinstance(to, datetime):
            (found,) = consumer.offsets_for_times([TopicPartition(*place, int(to.timestamp() * 1000))], ANSWER_S)
            if found.error:
                raise KafkaError(f"{place[0]}[{place[1]}] cannot be searched for {to}: {found.error}")
            if found.offset >= 0:
                return int(found.offset)
            to = "end"  # no record is as young as that
        if isinstance(to, int):
            return to
        first, end = consumer.get_watermark_offsets(TopicPartition(*place), timeout=ANSWER_S)
    except KafkaError:
        raise
    except Exception as error:
        raise KafkaError(f"{place[0]}[{place[1]}]: its offsets cannot be had: {error}") from error
    return int(first if to == "beginning" else end)
