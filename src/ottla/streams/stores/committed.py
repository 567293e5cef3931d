"""The port to committed state: what survives a crash, and how far of the changelog it holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from ottla.streams.stores.base import Pair
from ottla.streams.stores.memory import MemoryStore


class CommittedStore(ABC):
    """An ordered map of bytes to bytes that changes only by whole commits.

    Contract:
    - **Atomic.** After a crash either all of an `apply` is there, with its changelog offset, or nothing of it.
    - **Threads.** One thread applies; any number may read meanwhile, and see each commit whole or not at all per key.
    """

    @property
    @abstractmethod
    def changelog_offset(self) -> int | None:
        """The changelog's first offset that is not in here; None: nothing is known, it must be read from its start."""

    @abstractmethod
    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None if there is none."""

    @abstractmethod
    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of many keys, in their order."""

    @abstractmethod
    def range(self, low: bytes | None, high: bytes | None, *, reverse: bool = False) -> Iterator[Pair]:
        """The pairs with low <= key < high in order; None is open on that side."""

    @abstractmethod
    def apply(self, changes: Mapping[bytes, bytes | None], changelog_offset: int | None) -> None:
        """Writes changes (None deletes) and the offset at once. An offset of None leaves the one that is stored."""

    @abstractmethod
    def clear(self) -> None:
        """Empties it, offset and all: it is restored from the changelog's start."""

    @abstractmethod
    def approximate_count(self) -> int:
        """About how many keys there are."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of what it holds. Closing twice is allowed."""


class CommittedMemory(CommittedStore):
    """Committed state in memory: gone with the process, restored from the changelog's start."""

    def __init__(self) -> None:
        self._map = MemoryStore()
        self._offset: int | None = None

    @property
    def changelog_offset(self) -> int | None:
        return self._offset

    def get(self, key: bytes) -> bytes | None:
        return self._map.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._map.get_many(keys)

    def range(self, low: bytes | None, high: bytes | None, *, reverse: bool = False) -> Iterator[Pair]:
        return self._map.range(low, high, reverse=reverse)

    def apply(self, changes: Mapping[bytes, bytes | None], changelog_offset: int | None) -> None:
        self._map.put_many(changes.items())
        if changelog_offset is not None:
            self._offset = changelog_offset

    def clear(self) -> None:
        self._map, self._offset = MemoryStore(), None

    def approximate_count(self) -> int:
        return self._map.approximate_count()

    def close(self) -> None:
        self._map.close()
