"""Where the states of a task's aggregates lie: snapshots, and the events since, in stores of the topology."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from ottla.errors import HistoryBroken
from ottla.eventsourcing.aggregate import Aggregate
from ottla.streams.serdes import PlainSerde, Serde

S = TypeVar("S")

PROGRESS = "\0replayed"
"""The key under which each partition of the store notes how far its states were made from the events."""


class Snapshot(msgspec.Struct, omit_defaults=True, gc=False):
    """What the store holds of an aggregate.

    Attributes:
        version: The number of the last event that is in the state. Of PROGRESS: the offset of the next event to replay.
        schema: What the state was written with. Of PROGRESS: what the partition is being made for.
        since_ms: The time of the first event: where a reader of its history may begin.
        state: JSON; None where the last event has left nothing. Of PROGRESS: whether it is finished.
    """

    version: int
    schema: str
    since_ms: int = -1
    state: msgspec.Raw = msgspec.Raw(b"null")


SNAPSHOT: Serde[Snapshot] = PlainSerde("aggregate", msgspec.json.encode, msgspec.json.Decoder(Snapshot).decode)


class Held(NamedTuple, Generic[S]):
    """An aggregate as it is.

    Attributes:
        version: The number of its last event; 0 without any.
        since_ms: The time of its first event.
        written: The version that its snapshot is of.
    """

    version: int
    state: S | None
    since_ms: int
    written: int


NOTHING: Held[Any] = Held(0, None, -1, 0)


def store_names(aggregate: Aggregate[Any]) -> tuple[str, str, str]:
    """The stores of an aggregate: states, answers to commands, events since the snapshot."""
    return aggregate.name, f"{aggregate.name}-commands", f"{aggregate.name}-tail"


class States(Generic[S]):
    """Reads and writes the aggregates of one partition.

    Args:
        aggregate: Whose states.
        snapshots: The store of Snapshots, by key.
        tail: The store of events since the snapshot, where `snapshot_every` is above 1; else None.
    """

    def __init__(self, aggregate: Aggregate[S], snapshots: Any, tail: Any | None) -> None:
        self._aggregate = aggregate
        self._snapshots = snapshots
        self._tail = tail

    def load(self, key: str) -> Held[S]:
        """An aggregate.

        Raises:
            HistoryBroken: Its state was written by other code, and its events were not there to make it anew.
        """
        aggregate = self._aggregate
        found: Snapshot | None = self._snapshots.get(key)
        if found is None:
            return NOTHING
        if found.schema != aggregate.form.schema:
            raise HistoryBroken(
                f"{aggregate.name} {key}: its state is of other code, and topic {aggregate.event_topic} has no events "
                "of it to make it anew. Has the topic lost some (retention.ms, cleanup.policy)?"
            )
        state = None if bytes(found.state) == b"null" else aggregate.form.read(bytes(found.state))
        held = Held(found.version, state, found.since_ms, found.version)
        return held if self._tail is None else self._after_tail(key, held)

    def load_replayed(self, key: str) -> Held[S]:
        """The same while states are made anew: what is of other code counts as nothing."""
        found: Snapshot | None = self._snapshots.get(key)
        if found is None or found.schema == self._aggregate.form.schema:
            return self.load(key)
        if self._tail is not None:
            number = found.version + 1
            while self._tail.delete(_tail_key(key, number)) is not None:
                number += 1
        return NOTHING

    def save(self, key: str, before: Held[S], events: Sequence[Any], after: Held[S]) -> None:
        """Writes what events have made of an aggregate: the state, or where that is not due yet the events."""
        due = before.version == 0 or after.version - before.written >= self._aggregate.snapshot_every
        if self._tail is None or due:
            self.write(key, after)
            if self._tail is not None:
                for number in range(before.written + 1, before.version + 1):
                    self._tail.delete(_tail_key(key, number))
            return
        for number, event in enumerate(events, before.version + 1):
            self._tail.put(_tail_key(key, number), event)

    def write(self, key: str, held: Held[S]) -> None:
        """Writes a state."""
        form = self._aggregate.form
        state = msgspec.Raw(b"null" if held.state is None else form.write(held.state))
        self._snapshots.put(key, Snapshot(held.version, form.schema, held.since_ms, state))

    def progress(self) -> Snapshot | None:
        """How far the partition was made from the events."""
        found: Snapshot | None = self._snapshots.get(PROGRESS)
        return found

    def note(self, position: int, *, finished: bool) -> None:
        """Notes how far it is made."""
        state = msgspec.Raw(b"true" if finished else b"false")
        self._snapshots.put(PROGRESS, Snapshot(position, self._aggregate.form.schema, state=state))

    def is_current(self) -> bool:
        """Whether the states of the partition are this code's."""
        found = self.progress()
        return found is not None and found.schema == self._aggregate.form.schema and bytes(found.state) == b"true"

    def _after_tail(self, key: str, held: Held[S]) -> Held[S]:
        assert self._tail is not None
        version, state, since_ms, written = held
        while (event := self._tail.get(_tail_key(key, version + 1))) is not None:
            state = self._aggregate.apply(state, event)
            version += 1
        return Held(version, state, since_ms, written)


def _tail_key(key: str, version: int) -> str:
    return f"{key}\0{version:019d}"
