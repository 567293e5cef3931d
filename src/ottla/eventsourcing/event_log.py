"""The port through which a task of an aggregate sees the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ottla.kafka.record import Record


class EventLog(Protocol):
    """What an aggregate's task asks of Kafka besides what the stream application does for it.

    Contract: called on the stream thread. Raises KafkaError where the cluster does not answer: the task is then begun
    anew. Topics are named as in the cluster.
    """

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 if there is no such topic."""
        ...

    def end(self, topic: str, partition: int) -> int:
        """The offset behind the last record."""
        ...

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """The committed records from one offset up to another. Closing the iterator lets go of the connection."""
        ...

    def replaying(self, aggregate: str, partition: int, position: int, end: int) -> None:
        """States are being made from the events, and so far they are; finished where `position` is `end`."""
        ...
