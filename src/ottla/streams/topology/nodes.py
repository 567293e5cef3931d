"""The nodes of a topology: sources, operators, sinks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ottla.streams.records import RawRecord, Record
from ottla.streams.serdes import Serde

if TYPE_CHECKING:
    from ottla.streams.operators.base import Operator

OffsetReset = Literal["earliest", "latest"]
TimestampExtractor = Callable[[Record[Any, Any], int], int]
"""From a decoded record and the partition's time so far to the record's event time in milliseconds."""

Partitioner = Callable[[Any, Any, int], int]
"""From key, value and the number of partitions to a partition."""

TopicChooser = Callable[[Record[Any, Any]], str]
"""From a record to the topic it is written to."""


@dataclass(frozen=True, slots=True)
class SourceNode:
    """Reads topics.

    Attributes:
        topics: Logical names (internal topics without the application's name).
        table: Whether the records are changes of a table: a None value deletes, no key is an error.
        reset: Where a partition without a committed offset begins.
        timestamp: Event time from the record; None takes Kafka's timestamp.
    """

    name: str
    topics: tuple[str, ...]
    key: Serde[Any]
    value: Serde[Any]
    reset: OffsetReset = "earliest"
    timestamp: TimestampExtractor | None = None
    parents: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    operation: str = "source"


@dataclass(frozen=True, slots=True)
class OperatorNode:
    """Does something with records and gives them on to its children.

    Attributes:
        operation: What it is called in descriptions (`filter`, `aggregate`).
        make: Makes the operator for a task.
        stores: The stores it reads or writes.
        fields: The fields of the value it reads, if it reads nothing else of it: then the source need not decode whole
            values. None: it reads the value. An empty tuple: it does not look at it.
        passes_on: Whether its children get the same values as they came in.
    """

    name: str
    operation: str
    parents: tuple[str, ...]
    make: Callable[[], Operator]
    stores: tuple[str, ...] = ()
    fields: tuple[str, ...] | None = None
    passes_on: bool = False


@dataclass(frozen=True, slots=True)
class SinkNode:
    """Writes a topic.

    Attributes:
        topic: Logical name, or a function from record to topic.
        partitioner: Chooses partitions; None leaves it to the producer (murmur2 of the key, as Kafka's clients do).
        keys_as_read: Whether keys are written as they were read, so that their bytes may go on.
    """

    name: str
    topic: str | TopicChooser
    key: Serde[Any]
    value: Serde[Any]
    parents: tuple[str, ...]
    partitioner: Partitioner | None = None
    stores: tuple[str, ...] = ()
    operation: str = "sink"
    keys_as_read: bool = True


Node = SourceNode | OperatorNode | SinkNode

__all__ = ["Node", "OperatorNode", "RawRecord", "SinkNode", "SourceNode"]
