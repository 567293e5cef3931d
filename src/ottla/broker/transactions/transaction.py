"""One transactional id: its producer, its state, and what the open transaction touches.

    Empty --add--> Ongoing --end--> PrepareCommit --markers written--> CompleteCommit --add--> Ongoing ...
      ^               |                                                     |
      |               +--end, fenced, timed out--> PrepareAbort --markers--> CompleteAbort --add--> Ongoing ...
      +--------------------------- a producer initialises again ------------+

PrepareCommit and PrepareAbort are decisions: once one is durable the transaction ends that way, whatever happens.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from ottla.broker.log.control import Marker
from ottla.broker.wire.errors import ErrorCode

Partition = tuple[str, int]

NO_PRODUCER_ID = -1
NO_EPOCH = -1
EPOCH_MAX = 32767
EPOCH_LAST = EPOCH_MAX - 1  # the last one a producer may have: one more is kept back, to fence it with
TV2 = 2  # transaction.version: the epoch is bumped at each end, partitions are added by producing (KIP-890)


class State(Enum):
    """The values are Kafka's names, as DescribeTransactions gives them."""

    EMPTY = "Empty"
    ONGOING = "Ongoing"
    PREPARE_COMMIT = "PrepareCommit"
    PREPARE_ABORT = "PrepareAbort"
    COMPLETE_COMMIT = "CompleteCommit"
    COMPLETE_ABORT = "CompleteAbort"
    DEAD = "Dead"
    PREPARE_EPOCH_FENCE = "PrepareEpochFence"  # a name only: fencing and aborting are one step here


class Refused(Exception):
    """The coordinator does not do what it was asked to. `code` is Kafka's answer."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.code = code
        super().__init__(message)


class Start(NamedTuple):
    """Where a transaction begins in a partition: what lies before is not of it.

    Attributes:
        topic_id: The topic that the partition was of (hex): one that was deleted and made anew has other offsets.
        offset: Where the partition ended when it was added.
    """

    topic_id: str
    offset: int


class Transaction:
    """A transactional id's state. The coordinator writes each change down before it makes it here."""

    __slots__ = (
        "epoch",
        "groups",
        "id",
        "last_epoch",
        "next_producer_id",
        "partitions",
        "previous_producer_id",
        "producer_id",
        "started_at",
        "starts",
        "state",
        "timeout_ms",
        "unmarked_groups",
        "unmarked_partitions",
        "updated_at",
        "version",
        "written_epoch",
    )

    def __init__(self, transactional_id: str, producer_id: int) -> None:
        self.id = transactional_id
        self.producer_id = producer_id
        self.previous_producer_id = NO_PRODUCER_ID
        self.next_producer_id = NO_PRODUCER_ID  # takes over at completion, when the epochs are used up
        self.epoch = NO_EPOCH
        self.last_epoch = NO_EPOCH  # the epoch before, if whoever has it may ask again
        self.written_epoch = NO_EPOCH  # of the records and offsets of the transaction that was decided last
        self.timeout_ms = 0
        self.state = State.EMPTY
        self.version = 0
        self.partitions: set[Partition] = set()
        self.starts: dict[Partition, Start] = {}
        self.groups: set[str] = set()
        # Those that still want their marker. Not stored: at a start, what is open in the logs says it.
        self.unmarked_partitions: set[Partition] = set()
        self.unmarked_groups: set[str] = set()
        self.started_at = -1  # ms since the epoch
        self.updated_at = -1

    @property
    def is_prepared(self) -> bool:
        return self.state in (State.PREPARE_COMMIT, State.PREPARE_ABORT)

    @property
    def is_exhausted(self) -> bool:
        """Whether the producer id has no further epoch to give."""
        return self.epoch >= EPOCH_LAST

    @property
    def marker(self) -> Marker:
        """What a prepared transaction has been decided to be."""
        return Marker.COMMIT if self.state is State.PREPARE_COMMIT else Marker.ABORT

    def initialise(self, producer_id: int, epoch: int, last_epoch: int, timeout_ms: int, now: int) -> None:
        """A producer begins, or begins again, with an epoch of its own."""
        if producer_id != self.producer_id:
            self.previous_producer_id = self.producer_id
        self.producer_id, self.epoch, self.last_epoch = producer_id, epoch, last_epoch
        self.timeout_ms = timeout_ms
        self.state = State.EMPTY
        self.started_at, self.updated_at = -1, now

    def add(self, starts: dict[Partition, Start], groups: set[str], version: int, now: int) -> None:
        """Takes partitions, each with where the transaction begins in it, and groups; it begins with the first."""
        if self.state is not State.ONGOING:
            self.state = State.ONGOING
            self.started_at = now
        self.partitions |= starts.keys()
        self.starts |= starts
        self.groups |= groups
        self.version = version
        self.updated_at = now

    def prepare(
        self, marker: Marker, epoch: int, last_epoch: int, next_producer_id: int, version: int, now: int
    ) -> None:
        """Decides how the transaction ends. `epoch` is that of the markers, and of the producer afterwards."""
        if self.state is not State.ONGOING:
            self.started_at = now  # an abort of nothing
        self.state = State.PREPARE_COMMIT if marker is Marker.COMMIT else State.PREPARE_ABORT
        self.written_epoch = self.epoch
        self.epoch, self.last_epoch, self.next_producer_id = epoch, last_epoch, next_producer_id
        self.version = version
        self.updated_at = now
        self.unmarked_partitions, self.unmarked_groups = set(self.partitions), set(self.groups)

    def complete(self, now: int) -> None:
        """All markers are written."""
        self.state = State.COMPLETE_COMMIT if self.state is State.PREPARE_COMMIT else State.COMPLETE_ABORT
        if self.next_producer_id != NO_PRODUCER_ID:
            self.previous_producer_id, self.producer_id = self.producer_id, self.next_producer_id
            self.next_producer_id = NO_PRODUCER_ID
            self.epoch = 0
        self.partitions, self.groups = set(), set()
        self.starts = {}
        self.unmarked_partitions, self.unmarked_groups = set(), set()
        self.updated_at = now

    def snapshot(self) -> list[Any]:
        """All of it, made of what JSON has."""
        return [
            self.id,
            self.producer_id,
            self.previous_producer_id,
            self.next_producer_id,
            self.epoch,
            self.last_epoch,
            self.timeout_ms,
            self.state.value,
            self.version,
            places(self.starts),
            sorted(self.groups),
            self.started_at,
            self.updated_at,
            self.written_epoch,
        ]

    @classmethod
    def restore(cls, snapshot: list[Any]) -> Transaction:
        transactional_id, producer_id, *rest = snapshot
        self = cls(transactional_id, producer_id)
        self.previous_producer_id, self.next_producer_id, self.epoch, self.last_epoch, self.timeout_ms = rest[:5]
        self.state = State(rest[5])
        self.version = rest[6]
        self.starts = starts_of(rest[7])
        self.partitions = set(self.starts)
        self.groups = set(rest[8])
        self.unmarked_partitions, self.unmarked_groups = set(self.partitions), set(self.groups)
        self.started_at, self.updated_at, self.written_epoch = rest[9:12]
        return self


def places(starts: dict[Partition, Start]) -> list[list[Any]]:
    """Partitions and where the transaction begins in them, made of what JSON has."""
    return [[*partition, *start] for partition, start in sorted(starts.items())]


def starts_of(places: list[list[Any]]) -> dict[Partition, Start]:
    """What `places` has made. Journals of older versions do not say where: it may begin anywhere."""
    return {(topic, index): Start(*start) if start else Start("", 0) for topic, index, *start in places}
