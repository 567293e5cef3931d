"""The database of one service, and the rule that makes its handlers idempotent.

Kafka delivers at least once: after a crash a service sees events again. `Store.once` writes three things in one
transaction: the effect of an event, the event's id in the table `handled`, and the event that the handler answered
with. When the id is there already, the transaction is rolled back and the stored answer is given again, so whoever
waits for it gets it even if the crash came between this service's commit and its publishing.

One writer at a time. A decision (is there enough stock? was this order cancelled?) must see all that was decided
before it, and handlers of several partitions run in several threads. SQLite has one writer anyway; queueing for it
here costs less than its busy-wait. On PostgreSQL an advisory lock does the same across processes. Transactions are a
few statements long.

Durability: SQLite runs in WAL with synchronous=NORMAL. A committed transaction survives kill -9 of the service; what
a power cut can take is the last moments, which is the right trade for a demonstration. Use PostgreSQL where it is
not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
from sqlalchemy import Column, MetaData, String, Table, Text, bindparam, create_engine, event, exc, select, text
from sqlalchemy.engine import URL, Connection, Engine, make_url

from ottla import App, Context
from shop.events import ShopEvent, named, type_name

Event = TypeVar("Event", bound=ShopEvent)
Answer = TypeVar("Answer", bound=ShopEvent | None)
Effect = Callable[[Connection, Sequence[Event], Sequence[Context]], Sequence[Answer]]

_encode = msgspec.json.Encoder().encode


def handled_table(metadata: MetaData) -> Table:
    """The table of events a service has handled: `answer` is the event it answered with, as JSON, if it did."""
    return Table(
        "handled",
        metadata,
        Column("event_id", String(64), primary_key=True),
        Column("event_type", String(80), nullable=False),
        Column("topic", String(200), nullable=False),
        Column("answer_type", String(80)),
        Column("answer", Text),
    )


class Store:
    """A service's own database, opened when its app starts and closed when it stops.

    The URL comes from the setting `database.url` (`sqlite:///orders.db`, `postgresql+psycopg://user@host/name`);
    without one, it is a SQLite file `.ottla/shop/<app>.db` below the working folder. Missing tables are created.

    All methods may be called from any thread.
    """

    def __init__(self, app: App, metadata: MetaData) -> None:
        self._app = app
        self._metadata = metadata
        self._handled = handled_table(metadata) if "handled" not in metadata.tables else metadata.tables["handled"]
        self._insert_handled = self._handled.insert()
        self._select_answer = select(self._handled.c.answer_type, self._handled.c.answer).where(
            self._handled.c.event_id == bindparam("id")
        )
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._beside: Engine | None = None
        # Kept: taking one from the pool for each transaction costs more than beginning and committing it.
        self._writer: Connection | None = None
        app.on_start(self.open)
        app.on_stop(self.close)

    @property
    def url(self) -> str:
        """Where it is."""
        return self._app.settings.database.url or f"sqlite:///.ottla/shop/{self._app.name}.db"

    def open(self) -> None:
        """Connect and create what is missing. Raises SQLAlchemy's OperationalError when the database cannot be
        reached."""
        self._engine = open_engine(self.url)
        self._writer = self._engine.connect()
        with self.transaction() as tx:  # the lock: several processes may start at once on one PostgreSQL
            self._metadata.create_all(tx)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
            for engine in (self._engine, self._beside):
                if engine is not None:
                    engine.dispose()
            self._writer = self._engine = self._beside = None

    def beside(self) -> Engine:
        """Another engine for the same database, for whoever works beside the handlers, such as an outbox's relay: it
        takes the write lock when it writes, and not at the beginning of each transaction."""
        with self._lock:
            self._beside = self._beside or open_engine(self.url, alone=False)
            return self._beside

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that is alone in writing to this database; committed at the end, rolled back on an
        exception."""
        with self._lock:
            if self._writer is None:
                raise self._not_open()
            with self._writer.begin():
                if self._writer.dialect.name == "postgresql":
                    self._writer.execute(_LOCK, {"name": self._app.name})
                yield self._writer

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for queries, which wait for no writer."""
        if self._engine is None:
            raise self._not_open()
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection

    def once(self, events: Sequence[Event], contexts: Sequence[Context], effect: Effect[Event, Answer]) -> list[Answer]:
        """Let each event take effect if it has not done so before; in either case, give its answer.

        All of them share one transaction. Where one has been handled before, they are taken one by one.

        Args:
            events: The events, in their sequence.
            contexts: Where each came from; its `event_id` is what makes it the same event.
            effect: Writes what follows from events and returns the event to publish for each, or None. It runs again
                when its transaction failed, so it must change nothing but the database.
        """
        try:
            with self.transaction() as tx:
                answers = list(effect(tx, events, contexts))
                tx.execute(self._insert_handled, list(map(_handled_row, events, contexts, answers)))
                return answers
        except exc.IntegrityError:
            # Rather than asking first each time, let the primary key notice the rare repetition: it has undone
            # the effect.
            if len(events) > 1:
                return [self.once([one], [ctx], effect)[0] for one, ctx in zip(events, contexts, strict=True)]
            with self.reading() as connection:
                seen = connection.execute(self._select_answer, {"id": contexts[0].event_id}).first()
            if seen is None:
                raise
            return [cast(Answer, _restored(seen.answer_type, seen.answer))]

    def _not_open(self) -> RuntimeError:
        return RuntimeError(f"the database of {self._app.name} is not open; the app opens it when it starts")


# Held until the end of the transaction.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext(:name))")


def _handled_row(event: ShopEvent, ctx: Context, answer: ShopEvent | None) -> dict[str, Any]:
    return {
        "event_id": ctx.event_id,
        "event_type": type_name(event),
        "topic": ctx.topic,
        "answer_type": None if answer is None else type_name(answer),
        "answer": None if answer is None else _encode(answer).decode(),
    }


def _restored(answer_type: str | None, answer: str | None) -> ShopEvent | None:
    if answer_type is None or answer is None:
        return None
    return msgspec.json.decode(answer, type=named(answer_type))


def open_engine(address: str, *, alone: bool = True) -> Engine:
    """An engine for SQLite or PostgreSQL; with SQLite, transactions take the write lock at their beginning if they are
    to be alone."""
    url = make_url(address)
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    _make_folder(url)
    engine = create_engine(url, connect_args={"timeout": 30})
    event.listen(engine, "connect", _write_ahead)
    if alone:
        event.listen(engine, "connect", _begin_nothing)
        event.listen(engine, "begin", _begin_immediate)
    return engine


def _make_folder(url: URL) -> None:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)


def _write_ahead(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_nothing(connection: Any, _record: Any) -> None:
    # The driver would begin transactions on its own, and late: a transaction that reads before it writes could then
    # fail with "database is locked" instead of waiting. So it is told not to, and `_begin_immediate` does.
    connection.isolation_level = None


def _begin_immediate(connection: Connection) -> None:
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
