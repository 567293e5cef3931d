"""Which dead letters are meant."""

from __future__ import annotations

from datetime import datetime
from fnmatch import fnmatchcase

import msgspec

from ottla.deadletters.letter import OPEN, DeadLetter, LetterId


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Every condition that is given must hold. Texts may hold `*` and `?`.

    Attributes:
        ids: Only these.
        states: Only letters in these states.
        exception: The exception's full name, or its last part.
        message: Text within the exception's message.
        handler, service: Who gave up.
        key: The record's key, as text.
        event_id: The event's id.
        since, until: When the letter was written: from `since` on, before `until`; aware.
        limit: At most so many, in the order of the topic.
    """

    ids: frozenset[LetterId] = frozenset()
    states: frozenset[str] = frozenset({OPEN})
    exception: str | None = None
    message: str | None = None
    handler: str | None = None
    service: str | None = None
    key: str | None = None
    event_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None

    def matches(self, letter: DeadLetter) -> bool:
        """Whether a letter is meant, `limit` aside."""
        if (self.ids and letter.id not in self.ids) or letter.state not in self.states:
            return False
        short_name = letter.exception.rpartition(".")[2]
        return (
            (_like(self.exception, letter.exception) or _like(self.exception, short_name))
            and (self.message is None or self.message in letter.message)
            and _like(self.handler, letter.handler)
            and _like(self.service, letter.service)
            and _like(self.key, (letter.record.key or b"").decode(errors="replace"))
            and _like(self.event_id, letter.event_id)
            and self._in_time(letter)
        )

    def _in_time(self, letter: DeadLetter) -> bool:
        if self.since is None and self.until is None:
            return True
        time = letter.time
        if time is None:
            return False
        return (self.since is None or time >= self.since) and (self.until is None or time < self.until)


def _like(pattern: str | None, text: str) -> bool:
    return pattern is None or fnmatchcase(text, pattern)
