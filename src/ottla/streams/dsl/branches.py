"""One stream into several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from ottla.streams.dsl.graph import Draft
from ottla.streams.operators.stateless import Branch, PassOn

if TYPE_CHECKING:
    from ottla.streams.dsl.stream import KStream

K = TypeVar("K")
V = TypeVar("V")


class Branches(Generic[K, V]):
    """The branches of a split: each record goes to the first whose predicate says yes."""

    def __init__(self, stream: KStream[K, V], name: str) -> None:
        self._stream = stream
        self._name = name
        self._predicates: list[Callable[[K, V], bool]] = []
        self._found: dict[str, KStream[K, V]] = {}
        predicates = self._predicates
        stream.graph.operator(name, "split", [stream.node], lambda: Branch(predicates))

    def branch(self, predicate: Callable[[K, V], bool], name: str) -> Branches[K, V]:
        """One more branch."""
        self._predicates.append(predicate)
        self._add(name)
        return self

    def default(self, name: str = "default") -> dict[str, KStream[K, V]]:
        """What no predicate says yes to is a branch too; gives all by their names."""
        self._add(name)
        return self._found

    def no_default(self) -> dict[str, KStream[K, V]]:
        """What no predicate says yes to goes nowhere; gives all branches by their names."""
        return self._found

    def _add(self, name: str) -> None:
        from ottla.streams.dsl.stream import KStream

        graph, stream = self._stream.graph, self._stream
        node = graph.name(self._name, name)
        graph.add(Draft(node, "branch", [self._name], PassOn))
        self._found[name] = KStream(
            graph, node, stream.key, stream.value, stream.sources, stream.stem, rekeyed=stream.rekeyed
        )
