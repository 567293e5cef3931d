"""Applies events to a projection's tables, a batch in a transaction, with the position in the same transaction."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy import Engine
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from ottla.errors import DecodeError
from ottla.kafka.record import Record
from ottla.patterns.projection import Projected, Projection
from ottla.patterns.projection_tables import Generation, Place, advance, begin
from ottla.serde.deserializer import Deserializer

Bury = Callable[[Record, BaseException, int], None]
"""Writes a dead letter and waits for its acknowledgement: record, error, attempts."""


class Moved(Exception):
    """The position, or the generation, is not what it was: what was about to be written is somebody else's."""


class _Event(NamedTuple):
    """A record, and what is to be done with it.

    Attributes:
        event: None where the projection has no handler for it, or it cannot be read.
    """

    record: Record
    event: Any
    error: DecodeError | None = None


class Applied(NamedTuple):
    """What became of some records."""

    events: int
    buried: int


class Projecting:
    """Writes events into one generation of a projection's tables. Belongs to one thread.

    Args:
        projection: Whose handlers.
        engine: The database.
        deserializer: Reads events.
        number: The generation whose positions are moved.
        tables: Its tables.
        check: Called in each transaction before anything is written; raises Moved to give up.
        bury: Takes records that cannot be read or handled.
    """

    def __init__(
        self,
        projection: Projection,
        engine: Engine,
        deserializer: Deserializer,
        number: int,
        tables: Generation,
        check: Callable[[Connection], None],
        bury: Bury,
    ) -> None:
        self._projection = projection
        self._engine = engine
        self._deserializer = deserializer
        self._number = number
        self._tables = tables
        self._check = check
        self._bury = bury
        self._classes = projection.classes
        self._log = logging.getLogger(f"ottla.{projection.service}")

    def apply(self, place: Place, records: Sequence[Record], before: int | None) -> Applied:
        """Applies records of a partition and moves its position behind the last, in one transaction; where a handler
        raises, the records go one by one, and the one at fault becomes a dead letter.

        Args:
            before: Where the position is believed to be; None: nowhere yet.

        Raises:
            Moved: Nothing was written: it is somewhere else.
            RegistryUnavailable, PublishError, sqlalchemy.exc.OperationalError, ...: Something is away; nothing of what
                is not committed was written.
        """
        events = [self._read(record) for record in records]
        if all(one.error is None for one in events):
            with suppress(Failed):
                return self._together(place, events, before)
        found = Applied(0, 0)
        for one in events:
            applied = self._alone(place, one, before)
            found = Applied(found.events + applied.events, found.buried + applied.buried)
            before = one.record.offset + 1
        return found

    def apply_within(self, connection: Connection, records: Sequence[Record]) -> int:
        """Applies records in the caller's transaction, without moving anything. Raises what a handler raises."""
        db = Projected(connection, self._tables.tables, self._projection.name)
        return self._handled(db, [self._read(record) for record in records])

    def _together(self, place: Place, events: Sequence[_Event], before: int | None) -> Applied:
        with self._engine.connect() as connection:
            begin(connection)
            self._check(connection)
            after = events[-1].record.offset + 1
            if not advance(connection, self._projection.name, self._number, place, before, after):
                raise Moved(f"{place[0]}[{place[1]}] is not at {before}")
            count = self._handled(Projected(connection, self._tables.tables, self._projection.name), events)
            connection.commit()
            return Applied(count, 0)

    def _handled(self, db: Projected, events: Sequence[_Event]) -> int:
        count = 0
        for one in events:
            if one.event is None:
                continue
            db.record = one.record
            try:
                self._projection.handlers[type(one.event)](one.event, db)
            except Exception as error:
                if is_outage(error):
                    raise
                raise Failed(error) from error
            count += 1
        return count

    def _alone(self, place: Place, one: _Event, before: int | None) -> Applied:
        retry, attempt = self._projection.retry, 1
        error: BaseException | None = one.error
        while error is None:
            try:
                return self._together(place, [one], before)
            except Failed as failed:
                error = failed.error
            if attempt < retry.attempts and not isinstance(error, retry.fatal):
                time.sleep(retry.backoff(attempt))
                attempt, error = attempt + 1, None
        record = one.record
        self._log.error(
            "projection %s: %s[%d]@%d goes to the dead letters after %d attempts: %r",
            self._projection.name, record.topic, record.partition, record.offset, attempt, error,
        )  # fmt: skip
        self._bury(record, error, attempt)
        skipped = _Event(record, None)
        return Applied(self._together(place, [skipped], before).events, 1)

    def _read(self, record: Record) -> _Event:
        if record.value is None:
            return _Event(record, None)
        try:
            value = self._deserializer.framed(record.value, record.headers)
            cls = self._classes.get(self._deserializer.record_name(value))
            return _Event(record, None if cls is None else self._deserializer.decode(value, cls))
        except DecodeError as error:
            return _Event(record, None, error.at(record.topic, record.partition, record.offset))


class Failed(Exception):
    """A handler raised."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


def is_outage(error: BaseException) -> bool:
    """Whether an exception says that the database is away, busy, or chose this transaction as a deadlock's victim: no
    event's fault."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated
