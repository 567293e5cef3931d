"""INSERT ... ON CONFLICT, for which SQLAlchemy has one construct per database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Executable, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

# Given the row that could not be inserted (its columns as attributes), the columns of the existing row to set.
Change = Callable[[Any], Mapping[str, Any]]


class Upsert:
    """Inserts a row or, where one with the same key exists, changes that one.

    Args:
        table: Where to.
        change: What to set in the existing row; without it, that row stays as it is.
        key: The columns of a unique key; the primary key if None.
    """

    def __init__(self, table: Table, change: Change | None = None, *, key: Sequence[Column[Any]] | None = None) -> None:
        key = key or list(table.primary_key.columns)
        on_sqlite, on_postgresql = sqlite.insert(table), postgresql.insert(table)
        self._statements: dict[str, Executable] = (
            {
                "sqlite": on_sqlite.on_conflict_do_nothing(index_elements=key),
                "postgresql": on_postgresql.on_conflict_do_nothing(index_elements=key),
            }
            if change is None
            else {
                "sqlite": on_sqlite.on_conflict_do_update(index_elements=key, set_=change(on_sqlite.excluded)),
                "postgresql": on_postgresql.on_conflict_do_update(
                    index_elements=key, set_=change(on_postgresql.excluded)
                ),
            }
        )

    def run(self, tx: Connection, rows: Mapping[str, Any] | list[dict[str, Any]]) -> int:
        """Execute for one row or several.

        Returns:
            How many rows were inserted or changed, when given one row; the databases do not count several alike.
        """
        # Without the option, SQLAlchemy drops the count of an INSERT before anybody can ask for it.
        statement = self._statements[tx.dialect.name]
        return tx.execute(statement, rows, execution_options={"preserve_rowcount": True}).rowcount
