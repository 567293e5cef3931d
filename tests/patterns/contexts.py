"""Contexts of records that carry an event id."""

from __future__ import annotations

from ottla import Context


class Message:
    """A record with an id."""

    def __init__(self, event_id: str) -> None:
        self._event_id = event_id

    def topic(self) -> str:
        return "orders"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 0

    def key(self) -> bytes | None:
        return b"k"

    def value(self) -> bytes | None:
        return None

    def headers(self) -> list[tuple[str, bytes | None]]:
        return [("ce_id", self._event_id.encode()), ("ce_correlationid", b"flow-1")]

    def timestamp(self) -> tuple[int, int]:
        return 1, 0


def context(event_id: str, service: str = "shop") -> Context:
    return Context(Message(event_id), service)
