"""`GlobalTable`: a table that every instance holds in full."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from ottla.streams.serdes import Serde

K = TypeVar("K")
V = TypeVar("V")


class GlobalTable(Generic[K, V]):
    """A table that every instance holds in full: streams join it by any key, without repartitioning.

    Attributes:
        store: The name of its store.
    """

    def __init__(self, store: str, key: Serde[Any], value: Serde[Any]) -> None:
        self.store = store
        self.key = key
        self.value = value
