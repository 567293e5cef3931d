"""The service's database: one row per effect, in the order in which they were written."""

from __future__ import annotations

from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, event, select
from sqlalchemy.engine import Engine

from ottla import Context
from ottla.patterns.inbox import Inbox

metadata = MetaData()
effects = Table(
    "effects",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", String(20), nullable=False),
    Column("number", Integer, nullable=False),
)
inbox = Inbox(metadata)


def open_engine(url: str) -> Engine:
    """SQLite waits for another writer for a moment only: where the database is away, the handler is told."""
    if not url.startswith("sqlite"):
        # Nine cells' services share one server, and its hundred connections.
        return create_engine(url, pool_pre_ping=True, pool_size=4, max_overflow=0, connect_args={"connect_timeout": 2})
    engine = create_engine(url, connect_args={"timeout": 20})

    def set_up(connection: object, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")  # type: ignore[attr-defined]
        connection.execute("PRAGMA synchronous = OFF")  # type: ignore[attr-defined]  # kill -9 takes nothing

    event.listen(engine, "connect", set_up)
    return engine


class Effects:
    """Where a service writes what it does. With `remember`, an event it has handled has no further effect."""

    def __init__(self, url: str, *, remember: bool) -> None:
        self._engine = open_engine(url)
        self._remember = remember

    def open(self) -> None:
        """The table is there: the test has made it."""

    def write(self, key: str, number: int, ctx: Context) -> None:
        row = effects.insert().values(key=key, number=number)
        with self._engine.begin() as connection:
            if not self._remember:
                connection.execute(row)
                return
            with inbox.once(ctx, connection) as first:
                if first:
                    connection.execute(row)


def create(url: str) -> None:
    """Makes the tables."""
    engine = open_engine(url)
    metadata.create_all(engine)
    engine.dispose()


def written(url: str) -> list[tuple[str, int]]:
    """All effects, in their order."""
    engine = open_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(select(effects.c.key, effects.c.number).order_by(effects.c.id)).all()
    engine.dispose()
    return [(row.key, row.number) for row in rows]
