"""The port to state: an ordered map of bytes to bytes. Every kind of store is an encoding over it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

Pair = tuple[bytes, bytes]


class BytesStore(ABC):
    """An ordered map of bytes to bytes; keys are ordered as bytes are.

    Contract:
    - **Threads.** One thread at a time writes. `get`, `get_many`, `range` and `prefix` may be called from other
      threads meanwhile (interactive queries) and then see some state between two writes.
    - **Order.** What is written is seen by the next read of the same thread. Iterators give what was there when they
      were made or what was there later, never a key twice or out of order; writing while one is open is allowed.
    - **Durability.** None is promised here: the runtime decides when what was written survives a crash.
    """

    @abstractmethod
    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None if there is none."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of many keys, in their order."""
        return [self.get(key) for key in keys]

    @abstractmethod
    def put(self, key: bytes, value: bytes) -> None:
        """Sets the value of a key."""

    def put_many(self, pairs: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Sets many values in their order; None deletes."""
        for key, value in pairs:
            if value is None:
                self.delete(key)
            else:
                self.put(key, value)

    @abstractmethod
    def delete(self, key: bytes) -> None:
        """Removes a key; one that is not there is no error."""

    @abstractmethod
    def range(self, low: bytes | None = None, high: bytes | None = None, *, reverse: bool = False) -> Iterator[Pair]:
        """The pairs with low <= key < high in order; None is open on that side."""

    def prefix(self, prefix: bytes, *, reverse: bool = False) -> Iterator[Pair]:
        """The pairs whose key begins with some bytes, in order."""
        return self.range(prefix, after_prefix(prefix), reverse=reverse)

    def drop(self, low: bytes | None, high: bytes | None) -> int:
        """Removes low <= key < high because its retention has passed, and gives how many there were.

        Unlike `delete` this is not written to a changelog: there, retention does the same.
        """
        gone = [key for key, _ in self.range(low, high)]
        for key in gone:
            self.delete(key)
        return len(gone)

    @abstractmethod
    def approximate_count(self) -> int:
        """About how many keys there are."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of what it holds. Closing twice is allowed."""


def after_prefix(prefix: bytes) -> bytes | None:
    """The first key after all that begin with a prefix; None if there can be none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None
