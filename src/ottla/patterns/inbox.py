"""Inbox: remembers the ids of handled events in the handler's own database transaction.

Kafka delivers at least once. An event whose id is in the inbox has had its effect: the id and the effect are committed
together, or neither is. Two who handle the same event at once (a rebalance, a second service process) wait for each
other at the primary key: the second finds the id when the first commits, and inserts its own if the first rolls back.

What it does not cover: events the handler *returns* are published after its transaction, and a crash in between leaves
a redelivery that finds its id and returns nothing. Write them to the outbox in the same transaction instead.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Generic, TypeVar, cast, overload

from sqlalchemy import BigInteger, Column, Engine, Index, MetaData, String, Table, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from ottla.listeners.context import Context
from ottla.patterns.database import (
    AnyAsyncSession,
    AnySession,
    SyncSession,
    dialect_of,
    insert,
    is_async,
)

Given = TypeVar("Given")

TABLE = "ottla_inbox"

ROWS_MAX = 500
"""Ids in one INSERT: databases take only so many parameters."""

FORGET_ROWS = 10_000
"""Ids deleted by one statement: a larger one would hold its locks for long."""


class Inbox:
    """Which events a service has handled.

    The window: an id is remembered until it is forgotten (`forget`, or `App.inbox(..., keep=...)`). A redelivery within
    that time has no effect, a later one is taken for a new event. Keep ids for longer than Kafka can bring a record
    back: the topic's retention, and the age of dead letters that are still replayed.

    Args:
        metadata: Where its table is declared: your own (`Base.metadata`), and Alembic sees it. None makes one.
        scope: Whose memory it is, for handlers that share a database; None: the service's name. Two handlers that are
            both to handle the same event need scopes of their own.
        table: The table's name.
    """

    def __init__(self, metadata: MetaData | None = None, *, scope: str | None = None, table: str = TABLE) -> None:
        self.scope = scope
        metadata = MetaData() if metadata is None else metadata
        known = metadata.tables.get(table)
        self.table = known if known is not None else _table(metadata, table)

    @overload
    def once(self, ctx: Context, session: AnySession) -> Once[bool]: ...
    @overload
    def once(self, ctx: Sequence[Context], session: AnySession) -> Once[list[bool]]: ...
    def once(self, ctx: Context | Sequence[Context], session: AnySession) -> Once[Any]:
        """Whether an event is handled for the first time, and if so notes that it is.

            with Session.begin() as session, inbox.once(ctx, session) as first:
                if first:
                    session.add(Booking(...))

        With an AsyncSession it is `async with`. A batch handler gives its list of contexts and is told a list.

        The block must lie within the transaction that is rolled back when it raises: the id goes with it.

        Args:
            ctx: The record's Context.
            session: The Session or Connection (or their async kinds) that the handler writes with.

        Raises:
            ConfigurationError: The database is neither PostgreSQL nor SQLite.
        """
        return Once(self, ctx, session)

    @overload
    def forget(self, session: SyncSession, *, older_than: timedelta) -> int: ...
    @overload
    def forget(self, session: AnyAsyncSession, *, older_than: timedelta) -> Any: ...
    def forget(self, session: AnySession, *, older_than: timedelta) -> Any:
        """Forgets ids noted longer ago, at most 10,000 at a time, of every scope of the table.

        Returns:
            How many; with an async session, something to await for it.
        """
        moment = time.time_ns() // 1_000_000 - int(older_than.total_seconds() * 1000)
        columns = self.table.c
        old = select(columns.scope, columns.event_id).where(columns.handled_ms < moment).limit(FORGET_ROWS)
        statement = delete(self.table).where(tuple_(columns.scope, columns.event_id).in_(old))
        if is_async(session):
            return _rows_of(session.execute(statement))
        return session.execute(statement).rowcount  # type: ignore[union-attr]

    def create(self, engine: Engine) -> None:
        """Creates the table where it is missing."""
        self.table.metadata.create_all(engine, tables=[self.table])

    def ddl(self, dialect: str = "postgresql") -> str:
        """The statements that create the table, for migrations written by hand.

        Args:
            dialect: `postgresql` or `sqlite`.
        """
        return ddl([self.table], dialect)

    def _claim(self, contexts: Sequence[Context], dialect: str, start: int) -> Any:
        """Inserts up to ROWS_MAX ids, and returns those that were not there."""
        now = time.time_ns() // 1_000_000
        rows = {one.event_id: self.scope or one.service for one in contexts[start : start + ROWS_MAX]}
        return (
            insert(self.table, dialect)
            .values([{"scope": scope, "event_id": one, "handled_ms": now} for one, scope in rows.items()])
            .on_conflict_do_nothing()
            .returning(self.table.c.event_id)
        )


class Once(Generic[Given]):
    """Gives `True` for an event that is handled for the first time. See `Inbox.once`."""

    def __init__(self, inbox: Inbox, ctx: Context | Sequence[Context], session: AnySession) -> None:
        self._inbox = inbox
        self._contexts = [ctx] if isinstance(ctx, Context) else list(ctx)
        self._single = isinstance(ctx, Context)
        self._session = session

    def __enter__(self) -> Given:
        if is_async(self._session):
            raise TypeError("an async session needs `async with inbox.once(ctx, session) as first:`")
        found: list[str] = []
        for claim in self._claims():
            found += self._session.execute(claim).scalars()  # type: ignore[union-attr]
        return cast(Given, self._answer(found))

    async def __aenter__(self) -> Given:
        if not is_async(self._session):
            raise TypeError("a plain session needs `with inbox.once(ctx, session) as first:`")
        found: list[str] = []
        for claim in self._claims():
            found += (await self._session.execute(claim)).scalars()  # type: ignore[misc]
        return cast(Given, self._answer(found))

    def __exit__(self, *_: object) -> None:
        """Nothing: what becomes of the id is decided by the session's transaction."""

    async def __aexit__(self, *_: object) -> None:
        """As `__exit__`."""

    def _claims(self) -> list[Any]:
        dialect = dialect_of(self._session, self._inbox.table)
        return [self._inbox._claim(self._contexts, dialect, start) for start in range(0, len(self._contexts), ROWS_MAX)]

    def _answer(self, found: list[str]) -> Any:
        new = set(found)
        answers = []
        for one in self._contexts:
            # The same event twice in a batch is new once.
            answers.append(one.event_id in new)
            new.discard(one.event_id)
        return answers[0] if self._single else answers


async def _rows_of(result: Any) -> int:
    return int((await result).rowcount)


def ddl(tables: Sequence[Table], dialect: str) -> str:
    """CREATE statements of tables and their indexes.

    Raises:
        KeyError: There is no such dialect here.
    """
    spoken: Any = {"postgresql": postgresql, "sqlite": sqlite}[dialect].dialect()
    statements: list[Any] = []
    for table in tables:
        statements += [CreateTable(table), *map(CreateIndex, sorted(table.indexes, key=lambda index: str(index.name)))]
    return "".join(f"{str(one.compile(dialect=spoken)).strip()};\n" for one in statements)


def _table(metadata: MetaData, name: str) -> Table:
    table = Table(
        name,
        metadata,
        Column("scope", String(200), primary_key=True),
        Column("event_id", String(200), primary_key=True),
        Column("handled_ms", BigInteger, nullable=False),
    )
    Index(f"{name}_handled", table.c.handled_ms)
    return table
