"""What became of dead letters: one record for each decision, in a topic beside the dead letters.

The decision is written in the same transaction as its effect (the record that is replayed), so a letter is replayed and
settled, or neither, whenever the tool is stopped.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from ottla.deadletters.letter import DeadLetter, LetterId
from ottla.kafka.record import Record

Action = Literal["replayed", "edited", "parked", "purged"]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One audit record.

    Attributes:
        action: What was done.
        partition, offset: Which dead letter.
        written_ms: The dead letter's timestamp: offsets begin again where a topic is deleted and made anew.
        by: Who: `user@host`.
        time: When, UTC.
        to: The topic it was replayed to; empty if it was not.
        reason: Why, in words.
    """

    action: Action
    partition: int
    offset: int
    written_ms: int
    by: str
    time: datetime
    to: str = ""
    reason: str = ""


def audit_topic(dead_letters: str) -> str:
    """`orders-dlq` gives `orders-dlq-audit`."""
    return f"{dead_letters}-audit"


def decide(letter: DeadLetter, action: Action, *, to: str = "", reason: str = "") -> Decision:
    return Decision(
        action=action,
        partition=letter.id.partition,
        offset=letter.id.offset,
        written_ms=letter.record.timestamp_ms,
        by=whoami(),
        time=datetime.now(UTC),
        to=to,
        reason=reason,
    )


def key_of(decision: Decision) -> bytes:
    return f"{decision.partition}:{decision.offset}".encode()


def encode(decision: Decision) -> bytes:
    return msgspec.json.encode(decision)


class Decisions:
    """The newest decision on each dead letter."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._newest: dict[LetterId, Decision] = {}
        self.unreadable = 0
        for record in records:
            try:
                self.note(msgspec.json.decode(record.value or b"", type=Decision))
            except msgspec.DecodeError:
                self.unreadable += 1

    def note(self, decision: Decision) -> None:
        self._newest[LetterId(decision.partition, decision.offset)] = decision

    def on(self, record: Record) -> Decision | None:
        """The decision on the letter that lies in this record, if there is one."""
        found = self._newest.get(LetterId(record.partition, record.offset))
        return found if found is not None and found.written_ms == record.timestamp_ms else None


def whoami() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
