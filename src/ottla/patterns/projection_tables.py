"""Where projections stand: their rows in the database, and their tables by generation.

`ottla_projections` says which generation of a projection's tables is the live one, and which is being built.
`ottla_projection_positions` says for each generation and partition which event comes next. The live generation has the
tables' own names, so readers need to know nothing; one that is being built has a suffix, and is renamed when it is
swapped in.

Locks, always in this order, so that nobody waits in a circle: the projection's row (shared by those who write events,
exclusive for a swap), its positions, its tables. With SQLite each transaction has the whole database.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    select,
    text,
    update,
)
from sqlalchemy.engine import Connection

from ottla.patterns.database import insert as insert_on_conflict

Place = tuple[str, int]

_METADATA = MetaData()

PROJECTIONS = Table(
    "ottla_projections",
    _METADATA,
    Column("name", String(200), primary_key=True),
    Column("live", Integer, nullable=False),
    Column("form", String(64), nullable=False),
    Column("building", Integer),
    Column("building_form", String(64)),
)

POSITIONS = Table(
    "ottla_projection_positions",
    _METADATA,
    Column("name", String(200), primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("topic", String(249), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
)


class Standing(NamedTuple):
    """How a projection stands.

    Attributes:
        live: The generation that is read and kept up to date.
        form: What its tables look like.
        building: The generation that is being built, if one is, and what its tables look like.
    """

    live: int
    form: str
    building: int | None
    building_form: str | None


class Generation:
    """A projection's tables in one generation.

    Attributes:
        tables: From the declared table to this generation's.
    """

    def __init__(self, declared: Iterable[Table], number: int | None) -> None:
        suffix = "" if number is None else f"_g{number}"
        metadata = MetaData()
        self.tables: dict[Table, Table] = {}
        for table in declared:
            copy = table.to_metadata(metadata, name=table.name + suffix)
            if suffix:
                _rename_parts(copy, suffix)
            self.tables[table] = copy

    def create(self, connection: Connection) -> None:
        """Creates those that are missing."""
        for table in self.tables.values():
            table.create(connection, checkfirst=True)

    def drop(self, connection: Connection) -> None:
        """Drops those that are there."""
        for table in reversed(self.tables.values()):
            table.drop(connection, checkfirst=True)


def _rename_parts(table: Table, suffix: str) -> None:
    """Indexes and constraints have names of their own in the database, and outlive a renaming of their table."""
    parts: list[Any] = [*table.indexes, *table.constraints]
    for part in parts:
        if isinstance(part.name, str):
            part.name = part.name + suffix


def prepare(engine: Engine) -> None:
    """Creates the two tables where they are missing."""
    _METADATA.create_all(engine)


def begin(connection: Connection) -> None:
    """Begins a transaction that will write. SQLite's driver begins too late by itself: what was read before might be
    out of date by then."""
    if connection.dialect.name == "sqlite" and not connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def standing(connection: Connection, name: str, *, lock: str | None = None) -> Standing | None:
    """How a projection stands; None if the database does not know it.

    Args:
        lock: `shared` or `exclusive`: until the transaction ends nobody swaps, or nobody writes events either.
    """
    columns = PROJECTIONS.c
    statement = select(columns.live, columns.form, columns.building, columns.building_form).where(columns.name == name)
    if lock is not None and connection.dialect.name != "sqlite":
        statement = statement.with_for_update(read=lock == "shared")
    found = connection.execute(statement).first()
    return None if found is None else Standing(*found)


def first_standing(connection: Connection, name: str, form: str) -> Standing:
    """Notes a projection that is new; gives how it stands."""
    statement = insert_on_conflict(PROJECTIONS, connection.dialect.name)
    connection.execute(statement.values(name=name, live=1, form=form).on_conflict_do_nothing())
    found = standing(connection, name)
    assert found is not None
    return found


def note_building(connection: Connection, name: str, number: int | None, form: str | None) -> None:
    connection.execute(
        update(PROJECTIONS).where(PROJECTIONS.c.name == name).values(building=number, building_form=form)
    )


def positions(connection: Connection, name: str, generation: int) -> dict[Place, int]:
    """The next event of each partition that has had any."""
    columns = POSITIONS.c
    found = connection.execute(
        select(columns.topic, columns.partition, columns.next_offset).where(
            columns.name == name, columns.generation == generation
        )
    )
    return {(topic, partition): offset for topic, partition, offset in found}


def advance(connection: Connection, name: str, generation: int, place: Place, before: int | None, after: int) -> bool:
    """Moves a position, if it is where the caller believes it to be. False: somebody else has moved it since, and what
    the caller was about to write is written.

    Args:
        before: Where it is believed to be; None: nowhere yet.
    """
    mine = {"name": name, "generation": generation, "topic": place[0], "partition": place[1]}
    if before is None:
        statement = insert_on_conflict(POSITIONS, connection.dialect.name).values(**mine, next_offset=after)
        # An INSERT's count of rows is not told by every driver; what it returns is.
        written = statement.on_conflict_do_nothing().returning(POSITIONS.c.next_offset)
        return connection.execute(written).first() is not None
    moved = connection.execute(
        update(POSITIONS)
        .where(*(POSITIONS.c[column] == value for column, value in mine.items()), POSITIONS.c.next_offset == before)
        .values(next_offset=after)
    )
    return moved.rowcount == 1


def forget(connection: Connection, name: str, generation: int) -> None:
    """Forgets the positions of a generation."""
    connection.execute(delete(POSITIONS).where(POSITIONS.c.name == name, POSITIONS.c.generation == generation))


def swap(connection: Connection, name: str, declared: Iterable[Table], now: Standing) -> None:
    """Makes the generation that was built the live one, and drops the one before, in the caller's transaction, which
    has the projection's row exclusively."""
    assert now.building is not None
    declared = list(declared)
    for table in reversed(declared):
        connection.execute(text(f"DROP TABLE IF EXISTS {_quoted(connection, table)}"))
    built = Generation(declared, now.building)
    for table in declared:
        target = connection.dialect.identifier_preparer.quote(table.name)
        connection.execute(text(f"ALTER TABLE {_quoted(connection, built.tables[table])} RENAME TO {target}"))
    forget(connection, name, now.live)
    connection.execute(
        update(PROJECTIONS)
        .where(PROJECTIONS.c.name == name)
        .values(live=now.building, form=now.building_form, building=None, building_form=None)
    )


def _quoted(connection: Connection, table: Table) -> str:
    return connection.dialect.identifier_preparer.format_table(table)
