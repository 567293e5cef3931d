"""Offsets that groups hold back for transactions: they count only once the transaction is committed (KIP-98).

Journal records, beside the groups' own:
    ["p", group, producer id, epoch, topic, partition, offset, leader epoch, metadata, ms]   held back; offset null: the
                                                             group has committed another one since, which counts
    ["m", group, producer id, committed]                     the transaction's end
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

Partition = tuple[str, int]
C = TypeVar("C", bound="tuple[Any, ...]")


class PendingOffsets(Generic[C]):
    """What is held back, by group and producer id. `C` is what a group stores of a committed offset."""

    def __init__(self) -> None:
        self._held: dict[str, dict[int, tuple[int, dict[Partition, C | None]]]] = {}

    def hold(self, group: str, producer_id: int, epoch: int, offsets: dict[Partition, C | None]) -> None:
        """Holds offsets back; of several for one partition the last one counts."""
        producers = self._held.setdefault(group, {})
        _, held = producers.get(producer_id, (epoch, {}))
        producers[producer_id] = (epoch, held | offsets)

    def finish(self, group: str, producer_id: int) -> dict[Partition, C]:
        """Takes a transaction's offsets out; the caller stores them if it was committed."""
        producers = self._held.get(group, {})
        _, held = producers.pop(producer_id, (-1, {}))
        if not producers:
            self._held.pop(group, None)
        return {partition: committed for partition, committed in held.items() if committed is not None}

    def superseded(self, group: str, partitions: dict[Partition, C]) -> None:
        """The group has committed offsets itself: whatever was held back for them is older, and will not count."""
        for _, held in self._held.get(group, {}).values():
            for partition in held.keys() & partitions.keys():
                held[partition] = None

    def partitions(self, group: str) -> set[Partition]:
        """The partitions whose committed offset may change with the end of a transaction."""
        return {partition for _, held in self._held.get(group, {}).values() for partition in held}

    def epoch(self, group: str, producer_id: int) -> int | None:
        """The epoch at which a producer has offsets held back; None if it has none."""
        found = self._held.get(group, {}).get(producer_id)
        return None if found is None else found[0]

    def producers(self) -> Iterator[tuple[str, int, int]]:
        """Who has offsets held back: group, producer id, epoch."""
        for group, producers in self._held.items():
            for producer_id, (epoch, _) in producers.items():
                yield group, producer_id, epoch

    def __contains__(self, group: str) -> bool:
        return group in self._held

    def forget(self, group: str) -> None:
        """The group is deleted."""
        self._held.pop(group, None)

    def forget_topic(self, topic: str) -> None:
        """The topic is deleted: nothing will be stored for it."""
        for producers in self._held.values():
            for _, held in producers.values():
                for partition in [partition for partition in held if partition[0] == topic]:
                    held[partition] = None

    def entries(self) -> Iterator[list[Any]]:
        """The journal's records that rebuild all this."""
        for group, producers in self._held.items():
            for producer_id, (epoch, held) in producers.items():
                for partition, committed in held.items():
                    yield entry(group, producer_id, epoch, partition, committed)


def entry(group: str, producer_id: int, epoch: int, partition: Partition, committed: tuple[Any, ...] | None) -> Any:
    """The journal's record of one offset held back."""
    return ["p", group, producer_id, epoch, *partition, *(committed if committed is not None else (None,))]
