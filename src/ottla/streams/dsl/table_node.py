"""What the DSL knows of a table besides its types: how to look into it, and what it must keep for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ottla.errors import TopologyError
from ottla.streams.context import TaskContext
from ottla.streams.dsl.graph import Draft, Graph, Materialized, needed
from ottla.streams.operators.table_join import LookupMaker
from ottla.streams.operators.tables import Lookup, TableOptions
from ottla.streams.serdes import Serde
from ottla.streams.stores.timestamped import Stamped


class TableNode:
    """A table in the graph.

    Args:
        draft: Its operator; its store is connected to it.
        options: What its operator is told.
        parent, derive: The table its rows are computed from, one by one, and how: then it needs no store of its own.
    """

    def __init__(
        self,
        graph: Graph,
        draft: Draft,
        options: TableOptions,
        key: Serde[Any] | None,
        value: Serde[Any] | None,
        parent: TableNode | None = None,
        derive: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        self.graph = graph
        self.draft = draft
        self.options = options
        self.key = key
        self.value = value
        self.parent = parent
        self.derive = derive

    def keep(self, kept: Materialized) -> None:
        """Gives it a store."""
        if self.options.store is not None:
            return
        where = f"operator {self.draft.name!r}"
        key, value = needed(self.key, "key", where), needed(self.value, "value", where)
        spec = self.graph.store(kept, f"{self.draft.name}-store", "timestamped", key, value)
        self.options.store = spec.name
        self.draft.stores.append(spec.name)

    def need_lookup(self) -> None:
        """Sees to it that its rows can be looked up."""
        if self.options.store is not None:
            return
        if self.parent is not None and self.derive is not None:
            self.parent.need_lookup()
        else:
            self.keep(Materialized())

    def need_olds(self) -> None:
        """Sees to it that its changes carry the value before."""
        if self.options.sends_old:
            return
        self.options.sends_old = True
        if self.parent is not None and self.derive is not None:
            if self.options.store is None:
                self.parent.need_olds()
        elif self.options.store is None:
            self.keep(Materialized())

    @property
    def versioned(self) -> bool:
        """Whether its store keeps versions."""
        if self.options.store is None:
            return self.parent is not None and self.parent.versioned
        return self.graph.stores[self.options.store].kind == "versioned"

    def lookup_stores(self) -> list[str]:
        """The stores that a look-up reads."""
        if self.options.store is not None:
            return [self.options.store]
        if self.parent is None:
            raise TopologyError(f"operator {self.draft.name!r} cannot be looked into")
        return self.parent.lookup_stores()

    def lookup(self) -> LookupMaker:
        """How to look up its rows."""

        def make(context: TaskContext) -> Lookup:
            if self.options.store is not None:
                return store_lookup(context, self.options.store)
            assert self.parent is not None
            assert self.derive is not None
            inner, derive = self.parent.lookup()(context), self.derive

            def look(key: Any) -> Stamped[Any] | None:
                found = inner(key)
                value = None if found is None else derive(key, found.value)
                return None if found is None or value is None else Stamped(value, found.timestamp_ms)

            return look

        return make

    def as_of(self) -> Callable[[TaskContext], Callable[[Any, int], Any]]:
        """How to look up the value a row had at a time; in a store without versions, the value it has."""

        def make(context: TaskContext) -> Callable[[Any, int], Any]:
            if self.options.store is not None and self.versioned:
                store = context.store(self.options.store)

                def then(key: Any, time_ms: int) -> Any:
                    found = store.get(key, time_ms)
                    return None if found is None else found.value

                return then
            if self.versioned and self.parent is not None and self.derive is not None:
                inner, derive = self.parent.as_of()(context), self.derive

                def derived(key: Any, time_ms: int) -> Any:
                    value = inner(key, time_ms)
                    return None if value is None else derive(key, value)

                return derived
            look = self.lookup()(context)

            def now(key: Any, time_ms: int) -> Any:
                found = look(key)
                return None if found is None else found.value

            return now

        return make


def store_lookup(context: TaskContext, name: str) -> Lookup:
    """How to look up rows in a store, by the kind it is of."""
    store = context.store(name)
    match context.topology.stores[name].kind:
        case "versioned":

            def newest(key: Any) -> Stamped[Any] | None:
                found = store.get(key)
                return None if found is None else Stamped(found.value, found.valid_from_ms)

            return newest
        case "window":
            return lambda key: store.fetch(key.key, key.window.start_ms)
        case "session":

            def session(key: Any) -> Stamped[Any] | None:
                value = store.get(key.key, key.window.start_ms, key.window.end_ms)
                return None if value is None else Stamped(value, key.window.end_ms)

            return session
    look: Lookup = store.get
    return look
