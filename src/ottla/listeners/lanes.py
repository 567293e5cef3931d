"""Waiting records of a partition, given out so that records of one key follow each other."""

from __future__ import annotations

from collections import deque

from ottla.kafka.record import Message


class Lanes:
    """Not thread-safe: its owner sees to that.

    A key is *held* from when its first record is ready until the last one that came meanwhile is done. Records of a
    held key wait behind it; so of each key at most one record is ready or in hand, and they come in their order.

    Args:
        by_key: Whether keys matter at all. Records without a key never wait for others.
    """

    __slots__ = ("_by_key", "_held", "_ready")

    def __init__(self, by_key: bool) -> None:
        self._by_key = by_key
        self._ready: deque[Message] = deque()
        self._held: dict[bytes, deque[Message] | None] = {}  # None: nobody waits, which is nearly always so

    def add(self, messages: list[Message]) -> None:
        """More records, in the order of the partition."""
        if not self._by_key:
            self._ready.extend(messages)
            return
        held, ready = self._held, self._ready
        for message in messages:
            key = message.key()
            if key is None:
                ready.append(message)
            elif key not in held:
                held[key] = None
                ready.append(message)
            else:
                waiting = held[key]
                if waiting is None:
                    waiting = held[key] = deque()
                waiting.append(message)

    @property
    def ready(self) -> int:
        """How many records `take` would give now."""
        return len(self._ready)

    def take(self) -> Message | None:
        """The next record; None if there is none, or all wait for records in hand. `done` must follow."""
        return self._ready.popleft() if self._ready else None

    def done(self, message: Message) -> None:
        """A record that was taken is in hand no more: the next one of its key is ready."""
        key = message.key() if self._by_key else None
        if key is None:
            return
        waiting = self._held[key]
        if waiting:
            self._ready.append(waiting.popleft())
        else:
            del self._held[key]
