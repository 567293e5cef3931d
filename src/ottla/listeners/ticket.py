"""What a record in a retry topic carries besides its own headers: where it is from, when it is due, what happened."""

from __future__ import annotations

from typing import Any

import msgspec

from ottla.kafka.record import Headers, Message

PREFIX = "ottla-retry-"
TEXT_BYTES_MAX = 1024
"""Of an exception's message."""


WAITING = 0
"""The level of the topic in which records wait for others of their key."""


def retry_topic(topic: str, level: int) -> str:
    """`orders` and 2 give `orders-retry-2`, `orders` and `WAITING` give `orders-retry-waiting`."""
    return f"{topic}-retry-{level or 'waiting'}"


class Ticket(msgspec.Struct, frozen=True):
    """The headers `ottla-retry-*`, as text.

    Attributes:
        origin: Topic, partition, offset, timestamp in ms and its type, of the record itself.
        group: The consumer group it is for; others pass it over.
        handler: The handler it waits for.
        due_ms: Not to be handled before, in ms since the epoch.
        attempts: How often its handler was called.
        parks: In how many retry topics it lay for a failure of its own; waiting behind another does not count.
        moves: How often it was copied: of several copies the one with the most is the one that counts.
        first_failure, first_failed_ms: The first exception, and when. Empty for one that only waits.
        last_failure: The last exception.
    """

    origin: tuple[str, int, int, int, int]
    group: str
    handler: str
    due_ms: int
    attempts: int = 0
    parks: int = 0
    moves: int = 1
    first_failure: str = ""
    first_failed_ms: int = 0
    last_failure: str = ""

    @classmethod
    def of(cls, message: Message) -> Ticket | None:
        """The ticket of a record in a retry topic; None if it has none that can be read."""
        return cls.read(message.headers())

    @classmethod
    def read(cls, headers: Headers | None) -> Ticket | None:
        """The ticket among some headers; None if there is none that can be read."""
        found: dict[str, Any] = {
            name[len(PREFIX) :].replace("-", "_"): value.decode("utf-8", "replace")
            for name, value in headers or ()
            if name.startswith(PREFIX) and value is not None
        }
        try:
            found["origin"] = found["origin"].split("/")
            return msgspec.convert(found, cls, strict=False)
        except (KeyError, msgspec.ValidationError):
            return None

    def headers(self) -> Headers:
        return [
            (
                PREFIX + name.replace("_", "-"),
                ("/".join(map(str, value)) if name == "origin" else str(value)).encode(errors="replace"),
            )
            for name, value in msgspec.structs.asdict(self).items()
        ]


class Original:
    """A record in a retry topic, seen as the record it is a copy of."""

    __slots__ = ("_copy", "ticket")

    def __init__(self, copy: Message, ticket: Ticket) -> None:
        self._copy = copy
        self.ticket = ticket

    def topic(self) -> str:
        return self.ticket.origin[0]

    def partition(self) -> int:
        return self.ticket.origin[1]

    def offset(self) -> int:
        return self.ticket.origin[2]

    def key(self) -> bytes | None:
        return self._copy.key()

    def value(self) -> bytes | None:
        return self._copy.value()

    def headers(self) -> Headers | None:
        return [header for header in self._copy.headers() or () if not header[0].startswith(PREFIX)]

    def timestamp(self) -> tuple[int, int]:
        return self.ticket.origin[4], self.ticket.origin[3]


def original(message: Message) -> Message:
    """The record that `message` is a copy of; `message` itself if it is none."""
    ticket = Ticket.of(message)
    return message if ticket is None else Original(message, ticket)


def told(error: BaseException) -> str:
    """An exception in a header: its type and the beginning of its message."""
    try:
        text = str(error)
    except Exception as broken:
        text = f"(its __str__ raised {type(broken).__name__})"
    whole = f"{type(error).__module__}.{type(error).__qualname__}: {text}"
    return whole.encode(errors="replace")[:TEXT_BYTES_MAX].decode(errors="ignore")
