"""Records on their way from operator to operator: parallel lists, so that a step is one loop, not a call each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

from ottla.streams.records import Headers


class Batch:
    """Some records in order. Nobody changes a batch or its lists once it is handed on: siblings get the same one.

    Attributes:
        keys, values: Decoded. `values` is None where the source was told that nobody needs them whole (`columns`).
        timestamps: Milliseconds since the epoch.
        headers: Of each record; None if none has any.
        olds: For changes of a table: the values before; None where nobody asked for them (and for streams).
        latest: For changes of a versioned table: whether each is the newest of its key; None if all are.
        rows: Which input records they come from (indices into `TaskContext.input`); None where they come from no
            input record (a flush, a punctuation).
        raw_keys, raw_values: The same as bytes, where they are as they came in.
        columns: Fields of the values by name, where values were not decoded whole.
    """

    __slots__ = (
        "columns",
        "headers",
        "keys",
        "latest",
        "olds",
        "raw_keys",
        "raw_values",
        "rows",
        "timestamps",
        "values",
    )

    def __init__(
        self,
        keys: Sequence[Any],
        values: Sequence[Any] | None,
        timestamps: Sequence[int],
        headers: Sequence[Headers | None] | None = None,
        rows: Sequence[int] | None = None,
        *,
        olds: Sequence[Any] | None = None,
        latest: Sequence[bool] | None = None,
        raw_keys: Sequence[bytes | None] | None = None,
        raw_values: Sequence[bytes | None] | None = None,
        columns: dict[str, Sequence[Any]] | None = None,
    ) -> None:
        self.keys = keys
        self.values = values
        self.timestamps = timestamps
        self.headers = headers
        self.rows = rows
        self.olds = olds
        self.latest = latest
        self.raw_keys = raw_keys
        self.raw_values = raw_values
        self.columns = columns

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def whole(self) -> Sequence[Any]:
        """The values; operators that said they need no more than fields must not ask."""
        assert self.values is not None
        return self.values

    def field(self, name: str) -> Sequence[Any]:
        """One field of every value; None where the value is missing."""
        if self.columns is not None:
            return self.columns[name]
        return [None if value is None else getattr(value, name) for value in self.whole]

    def where(self, chosen: Sequence[bool]) -> Batch:
        """The records that are chosen."""

        def only(of: Sequence[Any] | None) -> list[Any] | None:
            return None if of is None else list(compress(of, chosen))

        return Batch(
            list(compress(self.keys, chosen)),
            only(self.values),
            list(compress(self.timestamps, chosen)),
            only(self.headers),
            only(self.rows),
            olds=only(self.olds),
            latest=only(self.latest),
            raw_keys=only(self.raw_keys),
            raw_values=only(self.raw_values),
            columns=self.columns and {name: list(compress(column, chosen)) for name, column in self.columns.items()},
        )

    def one(self, index: int) -> Batch:
        """One record by itself."""
        at = slice(index, index + 1)

        def only(of: Sequence[Any] | None) -> Sequence[Any] | None:
            return None if of is None else of[at]

        return Batch(
            self.keys[at],
            only(self.values),
            self.timestamps[at],
            only(self.headers),
            only(self.rows),
            olds=only(self.olds),
            latest=only(self.latest),
            raw_keys=only(self.raw_keys),
            raw_values=only(self.raw_values),
            columns=self.columns and {name: column[at] for name, column in self.columns.items()},
        )

    def at(self, indexes: Sequence[int]) -> Batch:
        """The records at some places, in that order; a place may come several times."""

        def only(of: Sequence[Any] | None) -> list[Any] | None:
            return None if of is None else [of[i] for i in indexes]

        return Batch(
            [self.keys[i] for i in indexes],
            only(self.values),
            [self.timestamps[i] for i in indexes],
            only(self.headers),
            only(self.rows),
            olds=only(self.olds),
            latest=only(self.latest),
            raw_keys=only(self.raw_keys),
            raw_values=only(self.raw_values),
            columns=self.columns and {name: [column[i] for i in indexes] for name, column in self.columns.items()},
        )

    def with_values(self, values: Sequence[Any], *, olds: Sequence[Any] | None = None) -> Batch:
        """The same records with other values."""
        return Batch(
            self.keys,
            values,
            self.timestamps,
            self.headers,
            self.rows,
            olds=olds,
            latest=self.latest,
            raw_keys=self.raw_keys,
        )

    def with_keys(self, keys: Sequence[Any]) -> Batch:
        """The same records with other keys."""
        return Batch(
            keys,
            self.values,
            self.timestamps,
            self.headers,
            self.rows,
            raw_values=self.raw_values,
            columns=self.columns,
        )

    def header(self, index: int) -> Headers | None:
        """A record's headers."""
        return None if self.headers is None else self.headers[index]
