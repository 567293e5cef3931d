"""How an aggregation goes from state to state: the user's functions, or declared ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ottla.streams.aggregates import ON_COLUMNS, Aggregate, Count, Sum
from ottla.streams.operators.batch import Batch


class Fold:
    """From the state of a group (None: there is none yet) and a record to the next state.

    Attributes:
        fields: The fields of the value it looks at; None if it looks at the whole value.
        plain: Whether the state is the result.
        several: Whether records of several streams come in, each with the number of its stream.
        on_columns: Whether there is `many`.
        adds, counts: Whether it does no more than that with its items.
    """

    fields: tuple[str, ...] | None = None
    plain = True
    several = False
    on_columns = False
    adds = False
    counts = False

    def items(self, batch: Batch) -> Sequence[Any]:
        """What `step` wants of each record."""
        return batch.whole

    def step(self, key: Any, state: Any, item: Any) -> Any:
        raise NotImplementedError

    def many(self, state: Any, items: Sequence[Any]) -> Any:
        """The state after many records of a group, at least one, where no item is None."""
        raise NotImplementedError

    def merge(self, key: Any, left: Any, right: Any) -> Any:
        """The state of two sessions together; None: of nothing."""
        raise NotImplementedError

    def result(self, state: Any) -> Any:
        """From the state to the table's value."""
        return state


class UserFold(Fold):
    """`aggregate(initializer, aggregator)`."""

    def __init__(
        self,
        initializer: Callable[[], Any],
        aggregator: Callable[[Any, Any, Any], Any],
        merger: Callable[[Any, Any, Any], Any] | None = None,
    ) -> None:
        self._initializer = initializer
        self._aggregator = aggregator
        self._merger = merger

    def step(self, key: Any, state: Any, item: Any) -> Any:
        return self._aggregator(key, item, self._initializer() if state is None else state)

    def merge(self, key: Any, left: Any, right: Any) -> Any:
        assert self._merger is not None
        return self._merger(key, self._initializer() if left is None else left, right)


class ReduceFold(Fold):
    """`reduce(reducer)`: the state is a value."""

    def __init__(self, reducer: Callable[[Any, Any], Any]) -> None:
        self._reducer = reducer

    def step(self, key: Any, state: Any, item: Any) -> Any:
        return item if state is None else self._reducer(state, item)

    def merge(self, key: Any, left: Any, right: Any) -> Any:
        return right if left is None else self._reducer(left, right)


class DeclaredFold(Fold):
    """One declared aggregation, whose state is kept as it is."""

    def __init__(self, aggregate: Aggregate[Any]) -> None:
        self.aggregate = aggregate
        self.fields = () if aggregate.field is None else (aggregate.field,)
        self.plain = type(aggregate).result is Aggregate.result
        self.result = aggregate.result  # type: ignore[method-assign]  # one call less
        self.on_columns = type(aggregate) in ON_COLUMNS
        self.adds = type(aggregate) is Sum
        self.counts = type(aggregate) is Count
        self.many = aggregate.many  # type: ignore[method-assign]

    def items(self, batch: Batch) -> Sequence[Any]:
        return batch.keys if self.aggregate.field is None else batch.field(self.aggregate.field)

    def step(self, key: Any, state: Any, item: Any) -> Any:
        if item is None:
            return state
        return self.aggregate.first(item) if state is None else self.aggregate.step(state, item)

    def merge(self, key: Any, left: Any, right: Any) -> Any:
        if left is None or right is None:
            return right if left is None else left
        return self.aggregate.merge(left, right)


class SummaryFold(Fold):
    """Several declared aggregations; the state is a tuple of theirs, the result an object with a field for each."""

    plain = False

    def __init__(self, make: Callable[..., Any], parts: dict[str, Aggregate[Any]]) -> None:
        self._make = make
        self._names = tuple(parts)
        self._parts = tuple(parts.values())
        self.fields = tuple(dict.fromkeys(part.field for part in self._parts if part.field is not None))
        self._nothing = (None,) * len(parts)
        self.on_columns = all(type(part) in ON_COLUMNS for part in self._parts)

    def items(self, batch: Batch) -> Sequence[Any]:
        return list(
            zip(*(batch.keys if part.field is None else batch.field(part.field) for part in self._parts), strict=True)
        )

    def step(self, key: Any, state: Any, item: Any) -> Any:
        return tuple(
            old if new is None else part.first(new) if old is None else part.step(old, new)
            for part, old, new in zip(self._parts, state or self._nothing, item, strict=True)
        )

    def many(self, state: Any, items: Sequence[Any]) -> Any:
        after = []
        for part, old, column in zip(self._parts, state or self._nothing, zip(*items, strict=True), strict=True):
            there = [one for one in column if one is not None] if None in column else column
            after.append(part.many(old, there) if there else old)
        return tuple(after)

    def merge(self, key: Any, left: Any, right: Any) -> Any:
        if left is None or right is None:
            return right if left is None else left
        return tuple(
            (b if a is None else a) if a is None or b is None else part.merge(a, b)
            for part, a, b in zip(self._parts, left, right, strict=True)
        )

    def result(self, state: Any) -> Any:
        if state is None:
            return None
        found = {
            name: None if one is None else part.result(one)
            for name, part, one in zip(self._names, self._parts, state, strict=True)
        }
        return self._make(**found)


class CogroupFold(Fold):
    """Several streams into one state: each record says which aggregator is its own. Items are (number, value)."""

    several = True

    def __init__(
        self,
        initializer: Callable[[], Any],
        aggregators: Sequence[Callable[[Any, Any, Any], Any]],
        merger: Callable[[Any, Any, Any], Any] | None = None,
    ) -> None:
        self._folds = [UserFold(initializer, aggregator, merger) for aggregator in aggregators]

    def step(self, key: Any, state: Any, item: Any) -> Any:
        number, value = item
        return self._folds[number].step(key, state, value)

    def merge(self, key: Any, left: Any, right: Any) -> Any:
        return self._folds[0].merge(key, left, right)
