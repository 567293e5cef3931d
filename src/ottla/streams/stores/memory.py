"""State in memory: a dict, and its keys in order where somebody asks for ranges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ottla.streams.stores.base import BytesStore, Pair
from ottla.streams.stores.sorted_keys import SortedKeys


class MemoryStore(BytesStore):
    """An ordered map in memory. The order costs nothing until the first range is asked for."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: SortedKeys | None = None

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return list(map(self._values.get, keys))

    def put(self, key: bytes, value: bytes) -> None:
        if self._keys is not None and key not in self._values:
            self._keys.add(key)
        self._values[key] = value

    def put_many(self, pairs: Iterable[tuple[bytes, bytes | None]]) -> None:
        for key, value in pairs:
            if value is None:
                self.delete(key)
            else:
                self.put(key, value)

    def delete(self, key: bytes) -> None:
        if self._values.pop(key, None) is not None and self._keys is not None:
            self._keys.remove(key)

    def range(self, low: bytes | None = None, high: bytes | None = None, *, reverse: bool = False) -> Iterator[Pair]:
        if self._keys is None:
            self._keys = SortedKeys(self._values)
        for key in self._keys.between(low, high, reverse=reverse):
            value = self._values.get(key)
            if value is not None:
                yield key, value

    def approximate_count(self) -> int:
        return len(self._values)

    def close(self) -> None:
        self._values = {}
        self._keys = None
