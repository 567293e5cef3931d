"""Steps that look at one record at a time and keep nothing: filter, map, select_key, peek, branch, merge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ottla.streams.operators.base import Operator, applied
from ottla.streams.operators.batch import Batch


class Filter(Operator):
    """Keeps the records a predicate over key and value says yes to (or no, if `negate`)."""

    def __init__(self, predicate: Callable[[Any, Any], bool], negate: bool = False) -> None:
        self._predicate = predicate
        self._negate = negate

    def process(self, batch: Batch) -> None:
        chosen, batch = applied(self, batch, self._predicate, batch.keys, batch.whole)
        self.forward(batch.where([not one for one in chosen] if self._negate else chosen))


class MapValues(Operator):
    """Another value for each record."""

    def __init__(self, mapper: Callable[..., Any], with_key: bool = False) -> None:
        self._mapper = mapper
        self._with_key = with_key

    def process(self, batch: Batch) -> None:
        arguments = (batch.keys, batch.whole) if self._with_key else (batch.whole,)
        values, batch = applied(self, batch, self._mapper, *arguments)
        self.forward(batch.with_values(values))


class Map(Operator):
    """Another key and value for each record."""

    def __init__(self, mapper: Callable[[Any, Any], tuple[Any, Any]]) -> None:
        self._mapper = mapper

    def process(self, batch: Batch) -> None:
        pairs, batch = applied(self, batch, self._pair, batch.keys, batch.whole)
        keys = [key for key, _ in pairs]
        self.forward(batch.with_keys(keys).with_values([value for _, value in pairs]))

    def _pair(self, key: Any, value: Any) -> tuple[Any, Any]:
        new_key, new_value = self._mapper(key, value)
        return new_key, new_value


class FlatMap(Operator):
    """Any number of keys and values for each record."""

    def __init__(self, mapper: Callable[[Any, Any], Iterable[tuple[Any, Any]]]) -> None:
        self._mapper = mapper

    def process(self, batch: Batch) -> None:
        found, batch = applied(self, batch, lambda k, v: [(key, value) for key, value in self._mapper(k, v)],
                               batch.keys, batch.whole)  # fmt: skip
        batch = batch.at([index for index, pairs in enumerate(found) for _ in pairs])
        flat = [pair for pairs in found for pair in pairs]
        self.forward(batch.with_keys([key for key, _ in flat]).with_values([value for _, value in flat]))


class FlatMapValues(Operator):
    """Any number of values for each record, under its key."""

    def __init__(self, mapper: Callable[..., Iterable[Any]], with_key: bool = False) -> None:
        self._mapper = mapper
        self._with_key = with_key

    def process(self, batch: Batch) -> None:
        arguments = (batch.keys, batch.whole) if self._with_key else (batch.whole,)
        found, batch = applied(self, batch, lambda *of: list(self._mapper(*of)), *arguments)
        batch = batch.at([index for index, values in enumerate(found) for _ in values])
        self.forward(batch.with_values([value for values in found for value in values]))


class SelectKey(Operator):
    """Another key for each record."""

    def __init__(self, mapper: Callable[[Any, Any], Any]) -> None:
        self._mapper = mapper

    def process(self, batch: Batch) -> None:
        keys, batch = applied(self, batch, self._mapper, batch.keys, batch.whole)
        self.forward(batch.with_keys(keys))


class SelectField(Operator):
    """A field of the value as the key. Records without a value have no such field and are left out."""

    def __init__(self, name: str) -> None:
        self._name = name

    def process(self, batch: Batch) -> None:
        values: Sequence[Any] = batch.raw_values if batch.values is None else batch.values  # type: ignore[assignment]
        if None in values:
            chosen = [value is not None for value in values]
            self.context.drop(self, "null-value", chosen.count(False))
            batch = batch.where(chosen)
        try:
            keys = batch.field(self._name)
        except AttributeError:
            keys, batch = applied(self, batch, lambda value: getattr(value, self._name), batch.whole)
        if len(batch):
            self.forward(batch.with_keys(keys))


class WithKey(Operator):
    """Leaves out the records that have no key."""

    def process(self, batch: Batch) -> None:
        if None in batch.keys:
            chosen = [key is not None for key in batch.keys]
            self.context.drop(self, "null-key", chosen.count(False))
            batch = batch.where(chosen)
        self.forward(batch)


class Peek(Operator):
    """Calls a function with every key and value."""

    def __init__(self, action: Callable[[Any, Any], object]) -> None:
        self._action = action

    def process(self, batch: Batch) -> None:
        _, batch = applied(self, batch, self._action, batch.keys, batch.whole)
        self.forward(batch)


class Print(Operator):
    """Prints every record."""

    def __init__(self, label: str) -> None:
        self._label = label

    def process(self, batch: Batch) -> None:
        for key, value in zip(batch.keys, batch.whole, strict=True):
            print(f"[{self._label}]: {key!r}, {value!r}", flush=True)
        self.forward(batch)


class Branch(Operator):
    """Gives each record to the first child whose predicate says yes. One child for each predicate; one more takes the
    rest, if there is one more."""

    def __init__(self, predicates: Sequence[Callable[[Any, Any], bool]]) -> None:
        self._predicates = predicates

    def process(self, batch: Batch) -> None:
        choices, batch = applied(self, batch, self._choice, batch.keys, batch.whole)
        for number, child in enumerate(self.children):
            part = batch.where([choice == number for choice in choices])
            if len(part):
                child.process(part)

    def _choice(self, key: Any, value: Any) -> int:
        for number, predicate in enumerate(self._predicates):
            if predicate(key, value):
                return number
        return len(self._predicates)


class PassOn(Operator):
    """Gives records on as they are: where streams merge, and where a branch begins.

    Args:
        with_bytes: Whether keys and values go along as the bytes they came in as too. Where streams merge that are
            written in different ways they must not.
    """

    def __init__(self, with_bytes: bool = True) -> None:
        self._with_bytes = with_bytes

    def process(self, batch: Batch) -> None:
        if not self._with_bytes:
            batch = batch.with_keys(batch.keys).with_values(batch.whole)
        self.forward(batch)
