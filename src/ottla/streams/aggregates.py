"""Declared aggregations: what is computed over fields, said by name, so that none of the user's Python runs per record.

Sums and counts of one field are the quickest (`grouped.aggregate(Sum("total_amount"))`); several come out as one object
(`grouped.summarise(Totals, orders=Count(), total=Sum("total_amount"))`).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Aggregate(Generic[T]):
    """One declared aggregation; `T` is the type of its result. Values that are None do not count.

    Attributes:
        field: The field it looks at; None if it needs none.
    """

    field: str | None = None

    def first(self, item: Any) -> Any:
        """The state after the first record."""
        return item

    def step(self, state: Any, item: Any) -> Any:
        """The state after one more."""
        raise NotImplementedError

    def many(self, state: Any, items: Sequence[Any]) -> Any:
        """The state after many more, at least one; None: there was none yet. What `step` would give, one by one."""
        for item in items:
            state = self.first(item) if state is None else self.step(state, item)
        return state

    def merge(self, left: Any, right: Any) -> Any:
        """The state of two groups together; neither is None."""
        return self.step(left, right)

    def result(self, state: Any) -> T:
        """From the state to what the table holds."""
        return state  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Count(Aggregate[int]):
    """How many records there are."""

    field: None = None

    def first(self, item: Any) -> int:
        return 1

    def step(self, state: int, item: Any) -> int:
        return state + 1

    def many(self, state: int | None, items: Sequence[Any]) -> int:
        return (state or 0) + len(items)

    def merge(self, left: int, right: int) -> int:
        return left + right


@dataclass(frozen=True)
class Sum(Aggregate[T]):
    """The sum of a field."""

    field: str

    def step(self, state: Any, item: Any) -> Any:
        return state + item

    def many(self, state: Any, items: Sequence[Any]) -> Any:
        # Not `sum`, which adds floats in a way of its own: batches must not show in results.
        return reduce(operator.add, items) if state is None else reduce(operator.add, items, state)


@dataclass(frozen=True)
class Min(Aggregate[T]):
    """The least value of a field."""

    field: str

    def step(self, state: Any, item: Any) -> Any:
        return item if item < state else state

    def many(self, state: Any, items: Sequence[Any]) -> Any:
        return min(items) if state is None else min(state, *items)


@dataclass(frozen=True)
class Max(Aggregate[T]):
    """The greatest value of a field."""

    field: str

    def step(self, state: Any, item: Any) -> Any:
        return item if item > state else state

    def many(self, state: Any, items: Sequence[Any]) -> Any:
        return max(items) if state is None else max(state, *items)


@dataclass(frozen=True)
class Avg(Aggregate[T]):
    """The mean of a field: its sum by how many there were. Of whole numbers it is a float."""

    field: str

    def first(self, item: Any) -> Any:
        return (item, 1)

    def step(self, state: Any, item: Any) -> Any:
        return (state[0] + item, state[1] + 1)

    def many(self, state: Any, items: Sequence[Any]) -> Any:
        if state is None:
            return (reduce(operator.add, items), len(items))
        return (reduce(operator.add, items, state[0]), state[1] + len(items))

    def merge(self, left: Any, right: Any) -> Any:
        return (left[0] + right[0], left[1] + right[1])

    def result(self, state: Any) -> T:
        return state[0] / state[1]  # type: ignore[no-any-return]


ON_COLUMNS = frozenset({Count, Sum, Min, Max, Avg})
"""Whose `many` calls no Python for a record."""
