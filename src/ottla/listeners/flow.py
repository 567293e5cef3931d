"""The flow of records to the partitions, and its bounds: those with too many in hand rest, the others go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ottla.kafka.consumer import TopicPartition
from ottla.kafka.flow import resume
from ottla.kafka.record import Message
from ottla.listeners.partition import Partition

Place = tuple[str, int]

PATIENCE_S = 0.1
LOOK_S = 0.002
EVERY = 8


class Sizes:
    """How large the records of each partition are, by those that came last.

    Args:
        bytes_max: Of the values that a partition may have in hand.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._mean: dict[Place, int] = {}

    def received(self, place: Place, messages: list[Message]) -> None:
        """Records have come; every eighth is looked at, and the first."""
        some = [len(message.value() or b"") for message in messages[::EVERY]]
        self._mean[place] = sum(some) // len(some)

    def most(self, place: Place, records: int) -> int:
        """How many records a partition may have in hand: at most `records`, and at least one."""
        mean = self._mean.get(place, 0)
        return records if records * mean <= self._bytes_max else max(1, self._bytes_max // mean)


def by_place(messages: list[Any], several: bool, faulty: Callable[[Any], None]) -> dict[Place, list[Message]]:
    """Records by their partitions. They come in runs of one partition, so little is asked of each.

    Args:
        messages: What the client gave.
        several: Whether they may be of several topics.
        faulty: Called with those that are errors.
    """
    batches: dict[Place, list[Message]] = {}
    topic, partition = "", -1
    batch: list[Message] = []
    for message in messages:
        if message.error() is not None:
            faulty(message)
            continue
        if message.partition() != partition or (several and message.topic() != topic):
            topic, partition = message.topic(), message.partition()
            batch = batches.setdefault((topic, partition), [])
        batch.append(message)
    return batches


def steer(
    consumer: Any,
    workers: Mapping[Place, Partition],
    limit: Callable[[Place], int],
    held: Callable[[Place], bool],
) -> None:
    """Pauses the partitions that are behind, resumes those that have caught up.

    To pause costs more than it seems: the client library throws away what it has fetched ahead, and fetches it again.
    So a partition whose handlers are quick is only waited for, and the consumer thread has nothing else to do: where
    the next records came for other partitions meanwhile, they are there a moment later.

    Args:
        consumer: The client.
        workers: All partitions of the member.
        limit: How many unfinished records a partition may have.
        held: Whether a partition rests for another reason.

    Raises:
        RuntimeError: The worker of a partition has died.
    """
    most_of = {place: limit(place) for place in workers}
    full = [(w, most_of[place]) for place, w in workers.items() if not w.paused and w.tracker.in_hand >= most_of[place]]
    _let_catch_up(full)
    for place, worker in workers.items():
        most = most_of[place]
        behind = worker.tracker.in_hand > most // 2 if worker.paused else worker.tracker.in_hand >= most
        rests = behind or held(place)
        if rests and not worker.paused:
            consumer.pause([TopicPartition(*place)])
        elif worker.paused and not rests:
            resume(consumer, [TopicPartition(*place)])
        worker.paused = rests
        if (error := worker.died) is not None:
            raise RuntimeError(f"{place[0]}[{place[1]}]: the partition's task ended: {error}") from error


def _let_catch_up(full: list[tuple[Partition, int]]) -> None:
    """Waits a moment, as long as one of them has more than half of what it may have."""
    until = time.monotonic() + PATIENCE_S
    while any(worker.tracker.in_hand > most // 2 for worker, most in full) and time.monotonic() < until:
        time.sleep(LOOK_S)
