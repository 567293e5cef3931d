"""What inbox and outbox need of SQLAlchemy: sessions of both kinds, engines for workers, clocks and inserts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import BigInteger, Engine, Table, create_engine, func, literal, make_url
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from ottla.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

SyncSession: TypeAlias = Session | Connection
AnyAsyncSession: TypeAlias = "AsyncSession | AsyncConnection"
AnySession: TypeAlias = "SyncSession | AnyAsyncSession"
Database: TypeAlias = "Engine | AsyncEngine | str | Callable[[], Engine | AsyncEngine | str]"
"""Where a database is: an engine, a URL, or a function that gives one of them when the app starts."""

SUPPORTED = ("postgresql", "sqlite")

# What a worker's thread uses where the service itself is asynchronous.
_PLAIN_DRIVERS = {"postgresql+asyncpg": "postgresql+psycopg", "sqlite+aiosqlite": "sqlite"}


def _of_asyncio(thing: object, *names: str) -> bool:
    """Whether something is of a class of SQLAlchemy's asyncio part, which needs a package more: where nobody has loaded
    it, nothing is."""
    there = sys.modules.get("sqlalchemy.ext.asyncio")
    return there is not None and isinstance(thing, tuple(getattr(there, name) for name in names))


def is_async(session: AnySession) -> bool:
    return _of_asyncio(session, "AsyncSession", "AsyncConnection")


def is_orm(session: AnySession) -> bool:
    """Whether it is a session, with objects that are still to be written, and no mere connection."""
    return isinstance(session, Session) or _of_asyncio(session, "AsyncSession")


def dialect_of(session: AnySession, table: Table) -> str:
    """The name of the database behind a session.

    Raises:
        ConfigurationError: It is none of those supported.
    """
    found: Any = session
    name: str = (found.get_bind(clause=table) if is_orm(session) else found).dialect.name
    if name not in SUPPORTED:
        raise ConfigurationError(f"table {table.name}: {name} is not supported; {' and '.join(SUPPORTED)} are")
    return name


def insert(table: Table, dialect: str) -> Any:
    """An INSERT that knows ON CONFLICT, which SQLAlchemy has one of per database."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def now_ms(dialect: str) -> Any:
    """The time as an expression, in milliseconds since 1970: that of the database's server, which all who ask share;
    with SQLite, they share the machine."""
    if dialect == "postgresql":
        return sql_cast(func.extract("epoch", func.clock_timestamp()) * 1000, BigInteger)
    return literal(time.time_ns() // 1_000_000, BigInteger)


class Worker:
    """The engine of a worker's thread. Made at first use; it disposes only of what it made."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engine: Engine | None = None
        self._own = False

    @property
    def engine(self) -> Engine:
        """Raises ConfigurationError where the database cannot be used from a thread."""
        if self._engine is None:
            given = self._database() if callable(self._database) else self._database
            if isinstance(given, Engine):
                self._engine = given
            else:
                self._engine, self._own = self._open(given), True
        return self._engine

    def _open(self, given: AsyncEngine | str) -> Engine:
        url = make_url(given) if isinstance(given, str) else given.url
        driver = _PLAIN_DRIVERS.get(url.drivername, url.drivername)
        if url.get_backend_name() not in SUPPORTED:
            raise ConfigurationError(f"{url.render_as_string()}: {' and '.join(SUPPORTED)} are supported")
        if url.get_backend_name() == "sqlite":
            if url.database in (None, "", ":memory:"):
                raise ConfigurationError("SQLite in memory has one connection: give its Engine, or use a file")
            return create_engine(url.set(drivername=driver), connect_args={"timeout": 30})
        try:
            return create_engine(url.set(drivername=driver), pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"the driver of {url.render_as_string()} is missing for a worker's thread: "
                f"pip install 'ottla[postgres]' ({error})"
            ) from error

    def close(self) -> None:
        if self._engine is not None and self._own:
            self._engine.dispose()
        self._engine = None
