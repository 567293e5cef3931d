"""What a command leads to, as it is answered and remembered."""

from __future__ import annotations

from typing import Any

import msgspec

from ottla.errors import AggregateError, DecodeError, Refused, VersionConflict
from ottla.streams.serdes import PlainSerde, Serde

EXPECTED_VERSION = "ottla-expected-version"
"""Header of a command, digits: it is for this version of the aggregate, and for no other; 0 is one without events."""

VERSION = "ottla-version"
"""Header of an event, digits: its number among the events of its aggregate, from 1."""

CONFLICT = f"{VersionConflict.__module__}.{VersionConflict.__qualname__}"


class Decided(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The answer to a command.

    Attributes:
        aggregate: The aggregate's name.
        key: Which one.
        version: Its version after the command; as it was, where the answer is no.
        events: The types of the events that the command led to, in their order.
        refusal: Where the answer is no: the full name of the exception.
        message: Where the answer is no: why.
        expected: Where the versions did not match: the one the command was for.
    """

    aggregate: str
    key: str
    version: int
    events: tuple[str, ...] = ()
    refusal: str | None = None
    message: str = ""
    expected: int | None = None

    @property
    def error(self) -> AggregateError | None:
        """What `AggregateApp.tell` raises for it; None where the answer is yes."""
        if self.refusal is None:
            return None
        if self.expected is not None:
            return VersionConflict(self.key, self.expected, self.version)
        return Refused(self.message, kind=self.refusal)

    def json(self) -> bytes:
        """The value of the answer's record."""
        return msgspec.json.encode(self)

    @classmethod
    def read(cls, value: bytes) -> Decided:
        """The other way round: for services that ask with `App.request(command, reply_type=bytes)`.

        Raises:
            DecodeError: It is none.
        """
        try:
            return _read(value)
        except msgspec.MsgspecError as error:
            raise DecodeError(f"{value[:80]!r} is no answer to a command: {error}") from error


_read = msgspec.json.Decoder(Decided).decode

ANSWER: Serde[Decided] = PlainSerde("answer", msgspec.json.encode, _read)
"""How answers are remembered."""


def number_in(headers: Any, name: str) -> int | None:
    """A header with digits; None if there is none.

    Raises:
        DecodeError: It is no number.
    """
    found: bytes | None = next((value for known, value in headers or () if known == name), None)
    if found is None:
        return None
    if not found.isdigit():
        raise DecodeError(f"header {name} holds {found[:40]!r}, which is no number")
    return int(found)
