"""Positions that brokers would forget while nothing moves are committed again now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from typing import Any

from ottla.kafka.consumer import TopicPartition
from ottla.listeners.exactly_once import Place, read_committed
from ottla.listeners.partition import Partition

RENEW_S = 3600.0
"""How often. Shorter than any `offsets.retention.minutes` that makes sense (Kafka's default is a week)."""


class Renewal:
    """Keeps the places of quiet partitions (KIP-211, `offsets.retention.minutes`).

    A broker counts from the last commit, unless the group is subscribed to the topic; in a group of the old protocol
    that is empty, from when it became empty. So two kinds of positions are in danger however long the service runs:

    - those in retry topics, to which the group is not subscribed: all that lies there would be handled once more;
    - all positions of a group of the new protocol (KIP-848): they are kept as long as it has members, and gone within
      the first minutes of a restart if nothing was committed for a week.

    Args:
        forgettable: Whether positions in a topic are in danger.
        own_commits: Topics whose handlers commit for themselves.
    """

    def __init__(self, forgettable: Callable[[str], bool], own_commits: Collection[str], log: logging.Logger) -> None:
        self._forgettable = forgettable
        self._own_commits = own_commits
        self._log = log
        self._next = time.monotonic() + RENEW_S

    def renew(self, consumer: Any, workers: dict[Place, Partition]) -> None:
        """Commits what is due. On the consumer thread, often."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + RENEW_S
        try:
            offsets = self.due(workers, lambda places: read_committed(consumer, places))
            if offsets:
                consumer.commit(offsets=offsets, asynchronous=False)
        except Exception as error:
            self._log.warning("positions where nothing moves could not be committed again: %s", error)

    def due(
        self, workers: dict[Place, Partition], committed: Callable[[list[Place]], dict[Place, tuple[int, str | None]]]
    ) -> list[TopicPartition]:
        """What is to be committed here. What is else in danger is given to commit once more as it always is.

        Args:
            committed: Reads what the group has committed.
        """
        mine = [place for place in workers if self._forgettable(place[0])]
        # Of which nothing was handled since they came: as it is committed.
        unmoved = [place for place in mine if workers[place].tracker.progress is None]
        offsets = [
            TopicPartition(*place, offset, metadata or "")
            for place, (offset, metadata) in (committed(unmoved) if unmoved else {}).items()
        ]
        for place in set(mine).difference(unmoved):
            tracker = workers[place].tracker
            if place[0] not in self._own_commits:
                tracker.commit_failed()
            elif not tracker.unfinished and (progress := tracker.progress) is not None:
                # Its handler asks for a commit with a record only, and there may be none for long.
                offsets.append(TopicPartition(*place, progress.offset, progress.metadata))
        return offsets
