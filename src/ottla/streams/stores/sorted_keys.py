"""Keys kept in order while they come and go: lists of bounded length, so that no change moves many."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator

_LENGTH_MAX = 1024


class SortedKeys:
    """A set of bytes in order. Adding and removing moves at most a thousand keys."""

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self._lists: list[list[bytes]] = []
        self._firsts: list[bytes] = []
        for_all = sorted(set(keys))
        for start in range(0, len(for_all), _LENGTH_MAX // 2):
            self._lists.append(for_all[start : start + _LENGTH_MAX // 2])
        self._firsts = [part[0] for part in self._lists]

    def add(self, key: bytes) -> None:
        """Adds a key that is not there yet."""
        if not self._lists:
            self._lists.append([key])
            self._firsts.append(key)
            return
        at = max(bisect_right(self._firsts, key) - 1, 0)
        part = self._lists[at]
        insort(part, key)
        self._firsts[at] = part[0]
        if len(part) > _LENGTH_MAX:
            half = len(part) // 2
            self._lists.insert(at + 1, part[half:])
            self._firsts.insert(at + 1, part[half])
            del part[half:]

    def remove(self, key: bytes) -> None:
        """Removes a key that is there."""
        at = bisect_right(self._firsts, key) - 1
        part = self._lists[at]
        del part[bisect_left(part, key)]
        if part:
            self._firsts[at] = part[0]
        else:
            del self._lists[at], self._firsts[at]

    def between(self, low: bytes | None, high: bytes | None, *, reverse: bool = False) -> Iterator[bytes]:
        """The keys low <= key < high, part by part: keys that come or go meanwhile may be missed."""
        return self._backwards(low, high) if reverse else self._forwards(low, high)

    def _forwards(self, low: bytes | None, high: bytes | None) -> Iterator[bytes]:
        while True:
            at = 0 if low is None else max(bisect_right(self._firsts, low) - 1, 0)
            found: list[bytes] = []
            while not found and at < len(self._lists):
                part = self._lists[at]
                found = part[0 if low is None else bisect_left(part, low) :]
                at += 1
            if not found:
                return
            for key in found:
                if high is not None and key >= high:
                    return
                yield key
            low = found[-1] + b"\0"

    def _backwards(self, low: bytes | None, high: bytes | None) -> Iterator[bytes]:
        while True:
            at = len(self._lists) - 1 if high is None else bisect_left(self._firsts, high) - 1
            if at < 0:
                return
            part = self._lists[at]
            found = part[: len(part) if high is None else bisect_left(part, high)]
            if not found:
                return
            for key in reversed(found):
                if low is not None and key < low:
                    return
                yield key
            high = found[0]
