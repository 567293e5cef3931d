"""Passing over fields the reader does not want: code that moves `p` and builds nothing."""

from __future__ import annotations

from ottla.serde.avro.faults import DEPTH_MAX, Malformed
from ottla.serde.avro.nodes import ArrayNode, EnumNode, MapNode, Node, Primitive, RecordNode, UnionNode, node_is_empty
from ottla.serde.avro.source import Source
from ottla.serde.avro.varint import read_block, read_index, read_length, skip_long

_DEPTH_MAX = 5
_SIZES = {"null": 0, "boolean": 1, "float": 4, "double": 8}


class Skipping:
    """Writes skipping code into a decoder's source; records that contain themselves become functions."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._functions: dict[int, str] = {}
        self._waiting: list[Node] = []
        for function in (skip_long, read_length, read_index, read_block, Malformed):
            source.bind(function.__name__, function)

    def skip(self, node: Node, depth: str, nesting: int, inline: bool = False) -> None:
        """Statements that move `p` past a value."""
        if not inline and self._wants_function(node, nesting):
            self._call(node, depth)
            return
        source = self.source
        match node:
            case Primitive(size=int(size)):
                source.line(f"p += {size}")
            case Primitive(kind="string" | "bytes"):
                n = source.fresh("n")
                source.line(f"{n}, p = read_length(b, p)")
                source.line(f"p += {n}")
            case Primitive(kind="int" | "long") | EnumNode():
                source.line("p = skip_long(b, p)")
            case Primitive(kind=kind):
                if _SIZES[kind]:
                    source.line(f"p += {_SIZES[kind]}")
            case ArrayNode(items=items):
                self._blocks(items, False, depth, nesting)
            case MapNode(values=values):
                self._blocks(values, True, depth, nesting)
            case UnionNode(branches=branches):
                self._union(branches, depth, nesting)
            case RecordNode(fields=fields):
                for field in fields:
                    self.skip(field.type, depth, nesting + 1)

    def finish(self) -> None:
        """Writes the functions that were called for."""
        while self._waiting:
            node = self._waiting.pop()
            with self.source.block(f"def {self._functions[id(node)]}(b, p, depth):"):
                itself = isinstance(node, RecordNode) and node.recursive
                if itself:
                    with self.source.block(f"if depth > {DEPTH_MAX}:"):
                        self.source.line(f"raise Malformed('it contains itself more than {DEPTH_MAX} deep', p)")
                self.skip(node, "depth + 1" if itself else "depth", 0, inline=True)
                self.source.line("return p")

    def _wants_function(self, node: Node, nesting: int) -> bool:
        if isinstance(node, RecordNode) and node.recursive:
            return True
        return nesting >= _DEPTH_MAX and not isinstance(node, Primitive | EnumNode)

    def _call(self, node: Node, depth: str) -> None:
        name = self._functions.get(id(node))
        if name is None:
            name = self._functions[id(node)] = self.source.fresh("skip_")
            self._waiting.append(node)
        self.source.line(f"p = {name}(b, p, {depth})")

    def _blocks(self, item: Node, keyed: bool, depth: str, nesting: int) -> None:
        source = self.source
        n, size = source.fresh("n"), source.fresh("n")
        with source.block("while True:"):
            source.line(f"{n}, {size}, p = read_block(b, p)")
            with source.block(f"if {n} == 0:"):
                source.line("break")
            with source.block(f"if {size} >= 0:"):
                source.line(f"p += {size}")
                source.line("continue")
            if node_is_empty(item) and not keyed:
                return
            with source.block(f"for _ in range({n}):"):
                if keyed:
                    self.skip(Primitive("string"), depth, nesting + 1)
                self.skip(item, depth, nesting + 1)
                # A fixed size is stepped over without a look at the bytes, so a hostile count would run for ever.
                with source.block("if p > len(b):"):
                    source.line("raise IndexError")

    def _union(self, branches: tuple[Node, ...], depth: str, nesting: int) -> None:
        source = self.source
        n = source.fresh("n")
        source.line(f"{n}, p = read_index(b, p)")
        for i, branch in enumerate(branches):
            with source.block(f"{'elif' if i else 'if'} {n} == {i}:"):
                self.skip(branch, depth, nesting + 1)
        with source.block("else:"):
            source.line(f"raise Malformed(f'{{{n}}} is not the index of a branch', p)")
