"""What one partition remembers of its transactions: which are open, and which were aborted.

The last stable offset is where the first transaction begins whose outcome is not durable yet: `read_committed`
consumers see nothing from there on. Of aborted transactions a consumer is told who wrote them and from which offset on,
so that it passes over the records up to the marker. Everything is rebuilt from batch headers and control batches.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import Any, NamedTuple

from ottla.broker.log.batch import BatchHeader
from ottla.broker.log.control import Marker


class AbortedTransaction(NamedTuple):
    """One aborted transaction in a partition.

    Args:
        producer_id: Who wrote it.
        first_offset: Its first record.
        last_offset: Its ABORT marker.
        last_stable_offset: Where the partition was stable once the marker was written; for stopping a search early.
    """

    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


class Transactions:
    """The transactions of one partition."""

    __slots__ = ("_deciding", "aborted", "open")

    def __init__(self) -> None:
        self.open: dict[int, int] = {}  # producer id -> first offset; in the order of these offsets
        self.aborted: list[AbortedTransaction] = []  # in the order of their markers
        self._deciding: deque[tuple[int, int]] = deque()  # marker's offset, first offset: the marker may not be durable

    def note(self, header: BatchHeader, base_offset: int, marker: Marker | None) -> None:
        """Takes in an appended batch of a transaction, or the marker that ends one.

        Args:
            header: Of the batch.
            base_offset: The offset that it was given.
            marker: What a control batch says; None for records.
        """
        producer_id = header.producer_id
        if marker is None:
            if header.is_transactional and not header.is_control:
                self.open.setdefault(producer_id, base_offset)
            return
        first_offset = self.open.pop(producer_id, None)
        if first_offset is None:
            return  # the transaction wrote nothing here, or its marker was written before
        self._deciding.append((base_offset, first_offset))
        if marker is Marker.ABORT:
            stable = next(iter(self.open.values()), base_offset + 1)
            self.aborted.append(AbortedTransaction(producer_id, first_offset, base_offset, stable))

    def last_stable(self, high_watermark: int) -> int:
        """The offset before which every transaction's outcome is known and durable; at most the high watermark."""
        deciding = self._deciding
        while deciding and deciding[0][0] < high_watermark:
            deciding.popleft()
        stable = high_watermark
        for first_offset in self.open.values():
            stable = min(stable, first_offset)
            break
        for _, first_offset in deciding:
            stable = min(stable, first_offset)
        return stable

    def aborted_in(self, start: int, end: int) -> list[AbortedTransaction]:
        """The aborted transactions that a reader of the offsets from `start` to `end` (excluded) has to pass over."""
        found: list[AbortedTransaction] = []
        first = bisect_left(self.aborted, start, key=_last_offset)
        for number in range(first, len(self.aborted)):
            transaction = self.aborted[number]
            if transaction.first_offset < end:
                found.append(transaction)
            if transaction.last_stable_offset >= end:
                break
        return found

    def trim(self, start_offset: int) -> None:
        """Forgets aborted transactions that lie wholly before the start of the log."""
        del self.aborted[: bisect_left(self.aborted, start_offset, key=_last_offset)]

    def snapshot(self) -> list[Any]:
        """State that `restore` takes back, made of what JSON has. Markers in it count as durable."""
        return [list(map(list, self.open.items())), list(map(list, self.aborted))]

    def restore(self, snapshot: list[Any]) -> None:
        """Takes up a snapshot; batches after it are noted as ever."""
        opened, aborted = snapshot
        self.open = dict(opened)
        self.aborted = [AbortedTransaction(*one) for one in aborted]
        self._deciding.clear()


def _last_offset(transaction: AbortedTransaction) -> int:
    return transaction.last_offset
