"""Which records of a partition lie in retry topics, and so which others must wait behind them: order of a key.

Why the order of each key is kept
---------------------------------
Take one partition p of a topic and the partitions p of its retry topics, the one for waiting records among them. They
have one owner at any time: the group assigns p of the topic, and its owner takes the others with it (`retry_flow`). A
record is *outstanding* from when it is moved to one of them until it is handled or dead-lettered. It keeps the offset
it had in the topic, its *number*; numbers of a key rise in the order of the key, wherever the records lie and however
often they were moved.

Rule: a record of a key is handled only if no outstanding record of that key has a lower number. Otherwise it waits: it
is moved to the waiting topic (and is outstanding itself), and when it comes from there it is *held*: it stays in memory
and unfinished, so that the committed position of its partition does not pass it, until the lower ones are gone.

1. Assume that the owner knows all outstanding records. Let x < y be records of a key. If x is neither handled nor
   dead-lettered, it is outstanding, or before y in the topic. The topic's partition is read in its order, so y from the
   topic comes after x was handled, dead-lettered or moved; and y from a retry topic was moved after x was read. So if x
   is open when y's turn comes, x is outstanding, and the rule makes y wait. Hence y is never handled before x.
2. The owner knows them. While it has the partition, only it moves records, and notes each *before* it is written. When
   it gets the partition it reads the retry topics from the group's committed offsets up to their ends (`rebuild`)
   before it handles anything. A record that was moved lies there: the one before it, in the topic or in another retry
   topic, was committed only after the copy was acknowledged, or in one transaction with it; the end is asked for after
   the assignment, and what transactions still decide is waited for. What is finished behind a held record stands in
   the metadata of the commit (`gaps`), and is not taken for outstanding.
   What it finds may have been moved before something lower was, or was published: a former owner that was killed has
   several writes on their way, to several partitions, and any of them may be the ones that arrived. All of those were
   made of records that were not committed, so it reads the topic from before them. Until it has come so far again,
   what it found of what lies after the topic's committed position is *unsure*, and waits as if something lower were
   outstanding.
3. No copy is handled in vain. Each move counts (`moves`), and of several copies of a record (a crash after the write
   and before the commit) the one that was moved most often counts; the others are passed over. A former owner that does
   not know yet that it is one may write a copy after the new one has read the topics. It could not commit what the copy
   was made of any more (the group has a new generation), so the new owner has that, and passes over the unknown copy.
4. It goes on. The lowest outstanding record of a key may be handled wherever it lies, and no partition waits for a held
   record: others go past it. When the lowest one is gone, the next one, if it is held, is handled at once.
5. It costs few writes. A record is written once for each failure of its own, and once to wait: only records that are
   the lowest of their key are handled, so none that failed finds another before it (but one that a crash brings back).
   Held records keep the committed position where it is. When as many others are finished behind them as are held (and
   `SPAN_MIN` at least), they are written to the waiting topic's end: at most once more for each record that is
   finished there. With `exactly_once` all that is finished must fit into the metadata, so this comes every `SPAN_MIN`
   records, and at most `EXACT_MAX` may be outstanding: at most ten more.

Memory: one entry per outstanding record with a key, and those that are held, on their owner. Beyond `PARKED_MAX`
records, or `HELD_BYTES_MAX` of held ones, the topic's partition pauses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum, auto

from ottla.kafka.record import Message

PARKED_MAX = 100_000
"""Outstanding records of a partition beyond which no more are taken from the topic."""

EXACT_MAX = 5_000
"""The same, where they are handled exactly once."""

HELD_BYTES_MAX = 64 << 20
"""Keys and values of held records of a partition beyond which no more are taken from the topic."""

SPAN_MIN = 500
"""Finished records behind held ones that are never too many. So many fit into a commit's metadata, whichever they are,
with those that are in hand meanwhile."""

Number = tuple[bytes, int]
"""A record's key, and its offset in the topic."""


class Verdict(Enum):
    """What is to become of a record."""

    MAY = auto()
    """It may be handled."""
    WAITS = auto()
    """It is to be moved to the waiting topic."""
    HELD = auto()
    """It was taken over, and is given back by `wake`."""
    STALE = auto()
    """It lies elsewhere, or is handled: there is nothing to do for this copy."""


class ParkedKeys:
    """The outstanding records of one partition. Thread-safe.

    Attributes:
        wake: Called with held records whose turn has come, from any thread: they are to be handled by the worker of
            the waiting topic's partition.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[bytes, dict[int, int]] = {}  # number to moves, the lowest number first
        self._count = 0
        self._held: dict[Number, Message] = {}
        self._held_bytes = 0
        self._moving_on: set[Number] = set()
        self._unsure: set[Number] = set()
        self.wake: Callable[[list[Message]], None] = _nobody

    def __len__(self) -> int:
        return self._count

    def held(self) -> int:
        """How many records are held."""
        return len(self._held)

    def is_full(self, most: int) -> bool:
        """Whether no more records are to be taken from the topic; `most` may be outstanding."""
        # What is unsure waits for the topic's records.
        return not self._unsure and (self._count >= most or self._held_bytes >= HELD_BYTES_MAX)

    def admit(self, key: bytes, number: int, moves: int, waiting: Message | None = None) -> Verdict:
        """What is to become of a record.

        Args:
            key: Its key.
            number: Its offset in the topic.
            moves: Which copy it is; 0 is the record in the topic itself.
            waiting: The copy, if it lies in the waiting topic: it is held where it must wait.
        """
        if key not in self._keys:  # nearly always so, and it costs no lock
            return Verdict.STALE if moves else Verdict.MAY
        if not moves and self._unsure:
            self._reached(number, key)
        with self._lock:
            spots = self._keys.get(key)
            if spots is None:
                return Verdict.STALE if moves else Verdict.MAY
            # Of a record that is not outstanding there may be copies, and the record itself after a crash.
            if spots.get(number, 0) != moves:
                return Verdict.STALE
            if number <= next(iter(spots)) and (key, number) not in self._unsure:
                return Verdict.MAY
            if waiting is None or (key, number) in self._moving_on:
                self._moving_on.discard((key, number))
                return Verdict.WAITS
            self._held[key, number] = waiting
            self._held_bytes += _size(waiting)
            return Verdict.HELD

    def moved(self, key: bytes, number: int, moves: int) -> None:
        """A record is about to be written to a retry topic. Of what is known of it, the latest copy counts."""
        with self._lock:
            spots = self._keys.setdefault(key, {})
            known = spots.get(number)
            if known is not None and known > moves:
                return
            rises = known is not None or not spots or number > next(reversed(spots))
            spots[number] = moves
            self._count += known is None
            if not rises:
                self._keys[key] = dict(sorted(spots.items()))

    def found(self, key: bytes, number: int, moves: int, *, unsure: bool) -> None:
        """A record lies in a retry topic. `unsure`: the topic will be read from before it."""
        self.moved(key, number, moves)
        if unsure:
            self._unsure.add((key, number))

    def passed(self, position: int) -> None:
        """The topic's records before this offset are finished: what was found of them is not unsure any more."""
        if self._unsure:
            self._reached(position - 1)

    def _reached(self, number: int, key: bytes | None = None) -> None:
        """The topic was read up to a record: everything before it, or everything of its key."""
        with self._lock:
            sure = {one for one in self._unsure if one[1] <= number and key in (None, one[0])}
            self._unsure -= sure
            turns = [turn for one in {one for one, _ in sure} if (turn := self._turn(one)) is not None]
        if turns:
            self.wake(turns)

    def settled(self, key: bytes, number: int) -> None:
        """A record is handled, or dead-lettered: the next one of its key has its turn."""
        if key not in self._keys:
            return
        with self._lock:
            spots = self._keys.get(key)
            if spots is None or spots.pop(number, None) is None:
                return
            self._count -= 1
            self._unsure.discard((key, number))
            if not spots:
                del self._keys[key]
                return
            turn = self._turn(key)
        if turn is not None:
            self.wake([turn])

    def move_on(self) -> None:
        """Gives back all held records, to be moved to the end of the waiting topic: their position may go on."""
        with self._lock:
            numbers = list(self._held)
            self._moving_on.update(numbers)
            messages = [message for number in numbers if (message := self._released(number)) is not None]
        if messages:
            self.wake(messages)

    def _turn(self, key: bytes) -> Message | None:
        """The lowest record of a key, if it is held and may go on. Under the lock."""
        spots = self._keys.get(key)
        lowest = (key, next(iter(spots))) if spots else None
        return None if lowest is None or lowest in self._unsure else self._released(lowest)

    def _released(self, number: Number) -> Message | None:
        message = self._held.pop(number, None)
        if message is not None:
            self._held_bytes -= _size(message)
        return message


def _size(message: Message) -> int:
    return len(message.key() or b"") + len(message.value() or b"")


def _nobody(messages: list[Message]) -> None:
    """Where there is no waiting topic nothing is held."""
