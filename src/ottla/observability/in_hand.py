"""The record in hand: what every log line of a handler says of it, those of the user's own code too.

It is kept in a context variable, which follows a handler into its thread and into the tasks that it makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

IN_HAND: ContextVar[Sequence[Any]] = ContextVar("ottla_in_hand", default=())
"""The records (`listeners.record.Delivery`) that this thread or task is at."""


class LogCompanion:
    """Notes which records are in hand."""

    @staticmethod
    def note(record: Any) -> None:
        IN_HAND.set(() if record is None else (record,))

    @contextmanager
    def handling(self, records: Sequence[Any]) -> Iterator[None]:
        before = IN_HAND.get()
        IN_HAND.set(records)
        try:
            yield
        finally:
            # Not reset() with a token: a way that is given up may be ended from elsewhere.
            IN_HAND.set(before)

    def failed(self, error: BaseException) -> None: ...

    def given_up(self, error: BaseException) -> None: ...

    def received(self, messages: Sequence[Any]) -> None: ...

    def committed(self, topics: Sequence[str], seconds: float, error: Any) -> None: ...


def fields_in_hand() -> dict[str, Any]:
    """What to say of the records in hand; of several, of the first, and how many they are."""
    records = IN_HAND.get()
    if not records:
        return {}
    first = records[0]
    context, event = first.context, first.event
    fields: dict[str, Any] = {
        "handler": first.listener.name,
        "topic": context.topic,
        "partition": context.partition,
        "offset": context.offset,
        "key": _text(context.key),
        "event_id": context.event_id,
        "event_type": context.envelope.type or _type_of(first, event, "name"),
        "correlation_id": context.correlation_id,
        "attempt": context.attempt,
    }
    # What the event calls its key, with the event's own value: "order_id".
    key = _type_of(first, event, "key")
    if key is not None and key not in fields:
        fields[key] = getattr(event, key, None)
    if len(records) > 1:
        fields["records"] = len(records)
        fields["last_offset"] = records[-1].context.offset
    return {name: value for name, value in fields.items() if value is not None}


def _type_of(record: Any, event: Any, what: str) -> str | None:
    for one in record.listener.events:
        if isinstance(event, one.cls):
            found: str | None = getattr(one, what)
            return found
    return None


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode("utf-8", "backslashreplace")
