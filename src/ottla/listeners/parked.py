"""Which records of a partition lie in retry topics, and so which others must wait behind them: order of a key.

Why the order of each key is kept
---------------------------------
Take one partition p of a topic and the partitions p of its retry topics. They have one owner at any time: the group
assigns p of the topic, and its owner takes p of the retry topics with it (`retry_flow`). A record is *outstanding* from
when it is moved to a retry topic until it is handled or dead-lettered. It keeps the offset it had in the topic, its
*number*; numbers of a key rise in the order of the key, wherever the records lie and however often they were moved.

Rule: a record of a key is handled only if no outstanding record of that key has a lower number. Otherwise it is moved
to the retry topic where the lowest one, the *head*, lies (and is outstanding itself).

1. Assume that the owner knows all outstanding records. Let x < y be records of a key. If x is neither handled nor
   dead-lettered, it is outstanding, or before y in the topic. The topic's partition is read in its order, so y from the
   topic comes after x was handled, dead-lettered or moved; and y from a retry topic was moved after x was read. So if x
   is open when y's turn comes, x is outstanding, and the rule sends y away. Hence y is never handled before x.
2. The owner knows them. While it has the partition, only it moves records, and notes each *before* it is written. When
   it gets the partition it reads the retry topics from the group's committed offsets up to their ends (`rebuild`)
   before it handles anything. A record that was moved lies there: the one before it, in the topic or in another retry
   topic, was committed only after the copy was acknowledged, or in one transaction with it; the end is asked for after
   the assignment, and what transactions still decide is waited for.
3. No copy is handled in vain. Each move counts (`moves`), and of several copies of a record (a crash after the write
   and before the commit) the one that was moved most often counts; the others are passed over. A former owner that does
   not know yet that it is one may write a copy after the new one has read the topics. It could not commit what the copy
   was made of any more (the group has a new generation), so the new owner has that, and passes over the unknown copy.
4. It goes on. A record that waits lies behind its head, in the head's topic, or meets it gone and is moved after it. So
   it moves at most once for each move of a head before it, and each head moves at most as often as there are delays.

Memory: one entry per outstanding record with a key, on its owner. Beyond `PARKED_MAX` the topic's partition pauses.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

PARKED_MAX = 100_000
"""Outstanding records of a partition beyond which no more are taken from the topic."""


class Spot(NamedTuple):
    """Where an outstanding record lies: in which retry topic (1, 2, ...), as which copy, and until when."""

    level: int
    moves: int
    due_ms: int


class Stale(NamedTuple):
    """The record lies elsewhere, or is handled: there is nothing to do for this copy."""


class ParkedKeys:
    """The outstanding records of one partition. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[bytes, dict[int, Spot]] = {}  # number to spot, the lowest first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def admit(self, key: bytes, number: int, moves: int) -> Spot | Stale | None:
        """Whether a record may be handled.

        Args:
            key: Its key.
            number: Its offset in the topic.
            moves: Which copy it is; 0 is the record in the topic itself.

        Returns:
            None: it may. Spot: where the record lies that it must wait behind. Stale: it is to be passed over.
        """
        if key not in self._keys:  # nearly always so, and it costs no lock
            return None if not moves else Stale()
        with self._lock:
            spots = self._keys.get(key)
            if spots is None:
                return None if not moves else Stale()
            spot = spots.get(number)
            if spot is None:
                if moves:
                    return Stale()
            elif spot.moves != moves:
                return Stale()
            head, lies = next(iter(spots.items()))
            return None if number <= head else lies

    def moved(self, key: bytes, number: int, spot: Spot) -> None:
        """A record is about to be written to a retry topic. Of what is known of it, the latest copy counts."""
        with self._lock:
            spots = self._keys.setdefault(key, {})
            known = spots.get(number)
            if known is not None and known.moves > spot.moves:
                return
            rises = known is not None or not spots or number > next(reversed(spots))
            spots[number] = spot
            self._count += known is None
            if not rises:
                self._keys[key] = dict(sorted(spots.items()))

    def settled(self, key: bytes, number: int) -> None:
        """A record is handled, or dead-lettered."""
        if key not in self._keys:
            return
        with self._lock:
            spots = self._keys.get(key)
            if spots is None or spots.pop(number, None) is None:
                return
            self._count -= 1
            if not spots:
                del self._keys[key]
