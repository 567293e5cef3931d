"""`Projection`: tables in a database that events fill. `App.projection` makes one and keeps it up to date.

    totals = Table("customer_totals", metadata, Column("customer_id", String(64), primary_key=True), ...)
    customers = app.projection("customer-totals", engine, tables=[totals])

    @customers.on
    def placed(event: OrderPlaced, db: Projected) -> None:
        db.put(totals, customer_id=event.customer_id, ...)

The position in the events is a row beside the tables, written in the same transaction, so each event is in them once
whatever crashes. Handlers reach their tables through `db` only: while they are rebuilt, there are two of each.
"""

from __future__ import annotations

import hashlib
import inspect
import typing
from collections.abc import Callable, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Table
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql import visitors

from ottla.errors import ConfigurationError, HandlerError
from ottla.events import event_type
from ottla.listeners.retry import Retry
from ottla.patterns.database import Database, insert
from ottla.patterns.projection_tables import Generation

if TYPE_CHECKING:
    from ottla.kafka.record import Record
    from ottla.settings import Settings

E = TypeVar("E")


class Projected:
    """What a handler writes with: the projection's tables, in the transaction of its events.

    Attributes:
        connection: The transaction. Never commit it.
        record: The event's record: offset, time, headers.
    """

    def __init__(self, connection: Connection, tables: dict[Table, Table], name: str) -> None:
        self.connection = connection
        self.record: Record
        self._tables = tables
        self._name = name

    def __getitem__(self, table: Table) -> Table:
        """A table of the projection as statements must name it: `db.execute(update(db[totals])...)`.

        Raises:
            HandlerError: It is none of the projection's.
        """
        found = self._tables.get(table)
        if found is None:
            raise HandlerError(
                f"projection {self._name!r}: {table.name} is none of its tables ({', '.join(map(str, self._tables))})"
            )
        return found

    def execute(self, statement: Any, *parameters: Any) -> Any:
        """Runs a statement of SQLAlchemy's Core.

        Raises:
            HandlerError: It names a table of the projection as it was declared, and not as `db[table]`: in a rebuild
                it would go to the wrong one.
            What the database says.
        """
        for part in visitors.iterate(statement):
            if isinstance(part, Table) and part in self._tables:
                raise HandlerError(
                    f"projection {self._name!r}: a statement names {part.name}; write db[...] for it, since in a "
                    "rebuild another table stands in its place"
                )
        return self.connection.execute(statement, *parameters)

    def put(self, table: Table, **row: Any) -> None:
        """Writes a row, in the place of the one with the same primary key if there is one; columns that are not named
        keep what they hold."""
        target = self[table]
        keys = [column.name for column in target.primary_key]
        statement = insert(target, self.connection.dialect.name).values(row)
        changed = {name: statement.excluded[name] for name in row if name not in keys}
        if changed:
            self.connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))
        else:
            self.connection.execute(statement.on_conflict_do_nothing())

    def get(self, table: Table, *key: Any) -> Any:
        """The row with a primary key; None if there is none."""
        target = self[table]
        where = [column == value for column, value in zip(target.primary_key, key, strict=True)]
        return self.connection.execute(target.select().where(*where)).first()

    def delete(self, table: Table, *key: Any) -> None:
        """Deletes the row with a primary key, if there is one."""
        target = self[table]
        where = [column == value for column, value in zip(target.primary_key, key, strict=True)]
        self.connection.execute(target.delete().where(*where))


Handler = Callable[[Any, Projected], None]


class Projection:
    """Tables, and what events do to them.

    Args:
        name: Its name in the database, and the end of its consumer group.
        database: An Engine, an AsyncEngine, a URL, or a function that gives one of them. Its thread is a plain one: for
            an asynchronous one it opens the same URL with a plain driver.
        tables: All tables it fills. Nobody else may write to them.
        service: The app's name.
        settings: Gives the settings in force.
        batch: Events of one transaction, at most.
        retry: How often a handler is called for an event before that is dead-lettered.

    Raises:
        ConfigurationError: No tables, or one has no primary key.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        *,
        tables: Sequence[Table],
        service: str,
        settings: Callable[[], Settings],
        batch: int = 500,
        retry: Retry | None = None,
    ) -> None:
        if not tables or any(not table.primary_key for table in tables):
            raise ConfigurationError(f"projection {name!r}: it needs tables, each with a primary key")
        linked = [table.name for table in tables if table.foreign_keys]
        if linked:
            raise ConfigurationError(
                f"projection {name!r}: {', '.join(linked)} refers to other tables by foreign keys, which would bind "
                "it to tables that a rebuild replaces"
            )
        self.name = name
        self.database = database
        self.tables = tuple(tables)
        self.service = service
        self.group = f"{service}-{name}"
        self.batch = batch
        self.retry = retry or Retry()
        self.handlers: dict[type, Handler] = {}
        self._settings = settings

    def on(self, function: Callable[[E, Projected], None]) -> Callable[[E, Projected], None]:
        """Declares what an event does to the tables: a plain function of the event and `Projected`. The event's class
        (or classes, `A | B`) is the annotation of the first parameter.

        It is called again for the same event after a rollback, and for all events in a rebuild: what it does is to
        follow from the event and the tables alone, and to be in the tables alone.

        Raises:
            ConfigurationError: It is async, or says no event class.
        """
        where = f"projection {self.name!r}: {getattr(function, '__qualname__', function)}"
        names = list(inspect.signature(function).parameters)
        hints = typing.get_type_hints(function)
        if inspect.iscoroutinefunction(function) or len(names) != 2 or names[0] not in hints:
            raise ConfigurationError(f"{where}: it is a plain function of an annotated event and a Projected")
        hint = hints[names[0]]
        classes = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else (hint,)
        for cls in classes:
            event_type(cls)
            if cls in self.handlers:
                raise ConfigurationError(f"{where}: {cls.__qualname__} has a handler already")
            self.handlers[cls] = function
        return function

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings()

    @property
    def topics(self) -> list[str]:
        """The topics of its events, as in the cluster."""
        named = self.settings.kafka.named
        return sorted({named(event_type(cls).topic) for cls in self.handlers})

    @property
    def classes(self) -> dict[str, type]:
        """Its events by their names on the wire."""
        return {event_type(cls).name: cls for cls in self.handlers}

    def form(self, dialect: Any) -> str:
        """What its tables look like, as a fingerprint: they are rebuilt when it changes."""
        text = []
        for table in self.tables:
            text.append(str(CreateTable(table).compile(dialect=dialect)))
            text += sorted(str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes)
        return hashlib.sha256("".join(text).encode()).hexdigest()[:16]

    def generation(self, number: int | None) -> Generation:
        """Its tables in a generation: None are those that are read."""
        return Generation(self.tables, number)
