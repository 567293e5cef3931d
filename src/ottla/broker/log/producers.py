"""What one partition remembers of each idempotent producer, and Kafka's sequence and epoch rules."""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from typing import Any, NamedTuple

from ottla.broker.log.batch import TRANSACTIONAL, BatchHeader
from ottla.broker.wire.errors import ErrorCode

REMEMBERED_BATCHES = 5  # as many as a producer may have in flight (max.in.flight.requests.per.connection)
ATTEMPTS_MAX = 10_000


class AppendedBatch(NamedTuple):
    base_sequence: int
    last_sequence: int
    base_offset: int
    timestamp: int


class ProducerState:
    """One producer id: its epoch, its last five batches, and the epoch of the coordinator that last wrote a marker."""

    __slots__ = ("batches", "coordinator_epoch", "epoch", "last_timestamp")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.batches: deque[AppendedBatch] = deque(maxlen=REMEMBERED_BATCHES)
        self.last_timestamp = -1
        self.coordinator_epoch = -1


class Refused(Exception):
    """A batch breaks the rules. `code` is Kafka's answer."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.code = code
        super().__init__(message)


class Producers:
    """All producers that wrote to a partition. Rebuilt from batch headers on recovery, so it survives a restart."""

    def __init__(self) -> None:
        self.states: dict[int, ProducerState] = {}
        self._attempts: dict[int, tuple[int, int]] = {}  # epoch and lowest sequence, by producer

    def attempt(self, header: BatchHeader) -> None:
        """Remembers that a producer wants to begin a transaction here with this batch, whatever becomes of it.

        If it is refused, no later one may come in its place: the producer would lose records without noticing. Not
        kept over a restart; nor does Kafka.
        """
        epoch, sequence = header.producer_epoch, header.base_sequence
        known = self._attempts.get(header.producer_id)
        if known is None or known[0] < epoch:
            if len(self._attempts) >= ATTEMPTS_MAX:
                del self._attempts[next(iter(self._attempts))]
            self._attempts[header.producer_id] = epoch, sequence
        elif known[0] == epoch and sequence < known[1]:
            self._attempts[header.producer_id] = epoch, sequence

    def check(self, header: BatchHeader) -> AppendedBatch | None:
        """Decides on a batch before it is appended.

        Returns:
            None if the batch is next in line; the batch as first appended if this one is a duplicate of it.

        Raises:
            Refused: INVALID_PRODUCER_EPOCH for an epoch older than seen, OUT_OF_ORDER_SEQUENCE_NUMBER for a gap, for a
                new epoch that does not begin at 0, for a duplicate older than the five batches remembered, and for what
                would come before the first batch of its transaction.
        """
        state = self.states.get(header.producer_id)
        attempt = self._attempts.get(header.producer_id)
        if attempt is not None and header.base_sequence > attempt[1] and not self._is_late(state, header):
            raise Refused(
                ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                f"producer {header.producer_id} wanted to begin with sequence {attempt[1]}, not {header.base_sequence}",
            )
        if state is None:
            # Nothing known: the state may have aged out, so any sequence is taken, as Kafka does.
            return None
        if header.producer_epoch < state.epoch:
            raise Refused(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"producer {header.producer_id} is at epoch {state.epoch}, the batch is of {header.producer_epoch}",
            )
        if header.producer_epoch > state.epoch:
            if header.base_sequence != 0:
                raise Refused(
                    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                    f"a new epoch of producer {header.producer_id} begins at sequence 0, not {header.base_sequence}",
                )
            return None
        return self._check_sequence(state, header)

    @staticmethod
    def _is_late(state: ProducerState | None, header: BatchHeader) -> bool:
        """Whether a batch comes from a fenced producer, or again: that counts first."""
        if state is None or header.producer_epoch > state.epoch:
            return False
        if header.producer_epoch < state.epoch:
            return True
        first, last = header.base_sequence, header.last_sequence
        return any(batch.base_sequence == first and batch.last_sequence == last for batch in state.batches)

    def _check_sequence(self, state: ProducerState, header: BatchHeader) -> AppendedBatch | None:
        first, last = header.base_sequence, header.last_sequence
        for batch in state.batches:
            if batch.base_sequence == first and batch.last_sequence == last:
                return batch
        expected = (state.batches[-1].last_sequence + 1) & 0x7FFFFFFF if state.batches else 0
        if first == expected:
            return None
        raise Refused(
            ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
            f"producer {header.producer_id} should go on with sequence {expected}, not {first}",
        )

    def note(self, header: BatchHeader, base_offset: int) -> None:
        """Remembers an appended batch."""
        state = self.states.get(header.producer_id)
        if state is None or header.producer_epoch > state.epoch:
            state = self.states[header.producer_id] = ProducerState(header.producer_epoch)
        state.last_timestamp = header.max_timestamp
        if header.attributes & TRANSACTIONAL:
            self._attempts.pop(header.producer_id, None)
        if not header.is_control:
            state.batches.append(
                AppendedBatch(header.base_sequence, header.last_sequence, base_offset, header.max_timestamp)
            )

    def note_marker(self, header: BatchHeader, coordinator_epoch: int) -> None:
        """Remembers who wrote the marker that was noted last for this producer."""
        self.states[header.producer_id].coordinator_epoch = coordinator_epoch

    def expire(self, before: int, keep: Container[int] = ()) -> None:
        """Forgets producers whose last batch is older than `before` (ms since the epoch), but not those in `keep`."""
        for producer_id in [i for i, s in self.states.items() if s.last_timestamp < before and i not in keep]:
            del self.states[producer_id]

    def last_offsets(self) -> dict[int, tuple[int, int]]:
        """Of every producer the offset of its last record (-1: none is remembered) and its epoch."""
        found: dict[int, tuple[int, int]] = {}
        for producer_id, state in self.states.items():
            last = state.batches[-1] if state.batches else None
            offset = last.base_offset + (last.last_sequence - last.base_sequence & 0x7FFFFFFF) if last else -1
            found[producer_id] = offset, state.epoch
        return found

    def snapshot(self) -> list[Any]:
        return [
            [i, s.epoch, s.last_timestamp, s.coordinator_epoch, list(map(list, s.batches))]
            for i, s in self.states.items()
        ]

    def restore(self, snapshot: list[Any]) -> None:
        for producer_id, epoch, last_timestamp, coordinator_epoch, batches in snapshot:
            state = self.states[producer_id] = ProducerState(epoch)
            state.last_timestamp = last_timestamp
            state.coordinator_epoch = coordinator_epoch
            state.batches.extend(AppendedBatch(*batch) for batch in batches)
