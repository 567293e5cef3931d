"""Outbox: events written in the business transaction, and published by a relay afterwards.

A service that writes to its database and publishes to Kafka can die in between. With an outbox there is no in between:
the event is a row of the same transaction. A relay (`relay.py`) publishes the rows, in the order of each key, and
deletes them when Kafka has acknowledged them. A crash at any point loses nothing; one between the acknowledgement and
the deletion publishes again, under the same event id, which consumers' inboxes know.

The order of a key is the order in which its events were added. Where two transactions add events of the same key at
once, change the row they are about first: the second then waits for the first, and its event comes after.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, overload

from sqlalchemy import Engine, MetaData

from ottla.errors import ConfigurationError
from ottla.events import new_event_id
from ottla.kafka.record import Headers
from ottla.listeners.context import Context
from ottla.listeners.outputs import Outgoing, Outputs
from ottla.patterns.database import AnyAsyncSession, AnySession, SyncSession, dialect_of, is_async, is_orm
from ottla.patterns.due import due_ms
from ottla.patterns.inbox import ddl
from ottla.patterns.outbox_tables import OutboxTables

TABLE = "ottla_outbox"


class Outbox:
    """Where transactions leave their events. `App.outbox` makes one, and a relay for it.

    Args:
        outputs: Makes records of events; asked for at first use.
        metadata: Where its tables are declared: your own (`Base.metadata`), and Alembic sees them.
        table: The table's name; the relays' table is `<table>_lanes`.
    """

    def __init__(self, outputs: Callable[[], Outputs], metadata: MetaData | None = None, *, table: str = TABLE) -> None:
        if not table.isidentifier():
            raise ConfigurationError(f"outbox table {table!r}: letters, digits and _ only, it is a channel's name, too")
        self._make_outputs = outputs
        self._outputs: Outputs | None = None
        self.tables = OutboxTables(MetaData() if metadata is None else metadata, table)

    @overload
    def add(
        self,
        session: SyncSession,
        event: Any,
        *,
        cause: Context | None = None,
        key: bytes | None = None,
        headers: Headers | None = None,
        event_id: str | None = None,
        correlation_id: str | None = None,
        delay: timedelta | None = None,
        at: datetime | None = None,
    ) -> str: ...
    @overload
    def add(
        self,
        session: AnyAsyncSession,
        event: Any,
        *,
        cause: Context | None = None,
        key: bytes | None = None,
        headers: Headers | None = None,
        event_id: str | None = None,
        correlation_id: str | None = None,
        delay: timedelta | None = None,
        at: datetime | None = None,
    ) -> Any: ...
    def add(
        self,
        session: AnySession,
        event: Any,
        *,
        cause: Context | None = None,
        key: bytes | None = None,
        headers: Headers | None = None,
        event_id: str | None = None,
        correlation_id: str | None = None,
        delay: timedelta | None = None,
        at: datetime | None = None,
    ) -> Any:
        """Writes an event in the session's transaction; it is published if that commits.

        It is serialised now: one that does not fit its schema fails here, with the transaction.

        Args:
            session: The Session or Connection (or their async kinds: then `await` this) that the business writes with.
            event: An instance of an `@event` class.
            cause: The Context of the record that led to it: gives the correlation and the causation.
            key, headers, event_id, correlation_id: As App.publish takes them.
            delay, at: Publish it so much later, or at a time (aware), and not before.

        Returns:
            The event's id, with which `cancel` finds it; with an async session, something to await for it.

        Raises:
            EventDefinitionError, EncodeError: It is not an event, or does not fit its schema.
            RegistryUnavailable, RegistryRejected: No schema id for it. Only the first event of a class asks.
            ValueError: As App.schedule, for `delay` and `at`.
            sqlalchemy.exc.IntegrityError: An event of this `event_id` is waiting already.
        """
        due = due_ms(delay, at)
        identity = event_id or new_event_id()

        def make() -> Any:
            correlation = correlation_id or (cause.correlation_id if cause else identity)
            outgoing = self._ready().prepare_one(
                event,
                event_id=identity,
                correlation_id=correlation,
                causation_id=cause.event_id if cause else None,
                key=key,
                headers=headers,
            )
            return self._insert(dialect_of(session, self.tables.rows), identity, outgoing, due)

        if is_async(session):
            return self._add_async(session, event, make, identity)
        if is_orm(session):
            # What the event is about is written (and locked) before it: whoever waits for that comes after, here too.
            session.flush()  # type: ignore[union-attr]
        session.execute(make())
        return identity

    @overload
    def cancel(self, session: SyncSession, event_id: str) -> bool: ...
    @overload
    def cancel(self, session: AnyAsyncSession, event_id: str) -> Any: ...
    def cancel(self, session: AnySession, event_id: str) -> Any:
        """Takes an event back, in the session's transaction. False if there is none: it was published, or is being.

        One whose time has come may be on its way already: cancel before.
        """
        statement = self.tables.remove(event_id)
        if is_async(session):
            return _any_row(session.execute(statement))
        return session.execute(statement).rowcount > 0  # type: ignore[union-attr]

    def create(self, engine: Engine) -> None:
        """Creates the tables where they are missing."""
        with engine.begin() as connection:
            self.tables.rows.metadata.create_all(connection, tables=self.tables.all)
            connection.execute(self.tables.make_lanes(engine.dialect.name))

    def ddl(self, dialect: str = "postgresql") -> str:
        """The statements that create the tables, for migrations written by hand. `postgresql` or `sqlite`."""
        return ddl(self.tables.all, dialect)

    async def _add_async(self, session: Any, event: Any, make: Callable[[], Any], identity: str) -> str:
        if is_orm(session):
            await session.flush()
        # The first of a class asks the registry.
        outputs = self._ready()
        statement = make() if outputs.knows(event) else await asyncio.to_thread(make)
        await session.execute(statement)
        return identity

    def _insert(self, dialect: str, identity: str, outgoing: Outgoing, due: int | None) -> Any:
        return self.tables.add(
            dialect,
            {
                "event_id": identity,
                "topic": outgoing.topic,
                "key": outgoing.key,
                "value": outgoing.value,
                "headers": outgoing.headers,
                "created_ms": time.time_ns() // 1_000_000,
                "due_ms": due,
            },
        )

    def _ready(self) -> Outputs:
        if self._outputs is None:
            self._outputs = self._make_outputs()
        return self._outputs


async def _any_row(result: Any) -> bool:
    return bool((await result).rowcount > 0)
