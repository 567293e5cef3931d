"""What is due next, of many things that are due at some time."""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

Thing = TypeVar("Thing")

STALE_MIN = 1000
"""Entries of things that were taken out stay in the heap until there are so many, and more than of others."""


class Wheel(Generic[Thing]):
    """Things by name, in the order of their times. Not thread-safe."""

    def __init__(self) -> None:
        self._things: dict[bytes, tuple[int, Thing]] = {}
        self._heap: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._things)

    def put(self, name: bytes, due_ms: int, thing: Thing) -> None:
        """Adds a thing, instead of any other of its name."""
        self._things[name] = (due_ms, thing)
        heapq.heappush(self._heap, (due_ms, name))
        if len(self._heap) > max(STALE_MIN, 2 * len(self._things)):
            self._heap = [(due, name) for name, (due, _) in self._things.items()]
            heapq.heapify(self._heap)

    def remove(self, name: bytes) -> None:
        """Takes a thing out, if it is there."""
        self._things.pop(name, None)

    def next_due_ms(self) -> int | None:
        """When the next one is due; None if there is none."""
        while self._heap:
            due, name = self._heap[0]
            if name in self._things and self._things[name][0] == due:
                return due
            heapq.heappop(self._heap)
        return None

    def due(self, now_ms: int, limit: int) -> list[tuple[bytes, Thing]]:
        """Those whose time has come, the earliest first. They stay until they are removed."""
        found: dict[bytes, tuple[int, Thing]] = {}
        while len(found) < limit and (due := self.next_due_ms()) is not None and due <= now_ms:
            _, name = heapq.heappop(self._heap)
            found[name] = self._things[name]
        for name, (due, _) in found.items():
            heapq.heappush(self._heap, (due, name))
        return [(name, thing) for name, (_, thing) in found.items()]
