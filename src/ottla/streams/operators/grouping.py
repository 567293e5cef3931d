"""A table regrouped under other keys: each change takes the old row out of its group and puts the new one in."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from ottla.errors import DecodeError
from ottla.streams.operators.base import Operator, applied
from ottla.streams.operators.batch import Batch
from ottla.streams.serdes import Codecs, Serde

_LENGTH = struct.Struct(">i")
_NONE = -1


class Change(NamedTuple):
    """A row's value and the one before."""

    new: Any
    old: Any


class ChangeSerde(Serde[Change]):
    """Both values of a change: the length of the new (4 bytes, -1 for none), the new, the old."""

    def __init__(self, value: Serde[Any]) -> None:
        self.name = f"change of {value.name}"
        self._value = value

    def bind(self, codecs: Codecs | None) -> Serde[Change]:
        return ChangeSerde(self._value.bind(codecs))

    def encode(self, value: Change, topic: str) -> bytes:
        new = b"" if value.new is None else self._value.encode(value.new, topic)
        head = _LENGTH.pack(_NONE if value.new is None else len(new))
        return head + new + (b"" if value.old is None else b"\1" + self._value.encode(value.old, topic))

    def decode(self, data: bytes, topic: str) -> Change:
        try:
            (length,) = _LENGTH.unpack_from(data)
        except struct.error as error:
            raise DecodeError(f"{data[:40]!r} is no change of a table", topic=topic) from error
        end = _LENGTH.size + max(length, 0)
        new = None if length == _NONE else self._value.decode(data[_LENGTH.size : end], topic)
        old = self._value.decode(data[end + 1 :], topic) if len(data) > end else None
        return Change(new, old)


class RegroupTable(Operator):
    """From changes of rows to changes under the keys of their groups, as records that carry both values."""

    def __init__(self, selector: Callable[[Any, Any], tuple[Any, Any]], versioned: bool) -> None:
        self._selector = selector
        self._versioned = versioned

    def process(self, batch: Batch) -> None:
        if self._versioned and batch.latest is not None:
            batch = batch.where(batch.latest)
        olds = batch.olds or [None] * len(batch)
        found, batch = applied(self, batch, self._moved, batch.keys, batch.whole, olds)
        batch = batch.at([index for index, moved in enumerate(found) for _ in moved])
        flat = [one for moved in found for one in moved]
        if flat:
            self.forward(batch.with_keys([key for key, _ in flat]).with_values([change for _, change in flat]))

    def _moved(self, key: Any, new: Any, old: Any) -> list[tuple[Any, Change]]:
        to = self._selected(key, new)
        away = self._selected(key, old)
        if to is not None and away is not None and to[0] == away[0]:
            return [(to[0], Change(to[1], away[1]))]
        moved = []
        if away is not None:
            moved.append((away[0], Change(None, away[1])))
        if to is not None:
            moved.append((to[0], Change(to[1], None)))
        return moved

    def _selected(self, key: Any, value: Any) -> tuple[Any, Any] | None:
        if value is None:
            return None
        selected = self._selector(key, value)
        return None if selected[0] is None or selected[1] is None else selected


class Changes(Operator):
    """The other way round: from records that carry both values to changes."""

    def process(self, batch: Batch) -> None:
        changes = [change or Change(None, None) for change in batch.whole]
        self.forward(batch.with_values([one.new for one in changes], olds=[one.old for one in changes]))
