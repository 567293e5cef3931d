"""Python source being written: lines, indentation, names for objects, and which line belongs to which field."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_serial = itertools.count(1)


class Source:
    """A module of generated code in the making.

    `bind` gives an object (a class, a table, a function) a name the code can use, so no value is ever written into
    the source as text.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.lines: list[str] = []
        self.fields: dict[int, str] = {}
        self.namespace: dict[str, Any] = {}
        self._bound: dict[tuple[str, int], str] = {}
        self._level = 0
        self._counters: dict[str, int] = {}
        self._path: list[str] = []

    def line(self, text: str) -> None:
        """Adds a line at the current indentation."""
        self.lines.append("    " * self._level + text)
        if self._path:
            self.fields[len(self.lines)] = ".".join(self._path)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Adds a compound statement's head; what is added inside is its body."""
        self.line(head)
        self._level += 1
        before = len(self.lines)
        yield
        if len(self.lines) == before:
            self.line("pass")
        self._level -= 1

    @contextmanager
    def field(self, name: str) -> Iterator[None]:
        """Lines added inside belong to a field."""
        self._path.append(name)
        yield
        self._path.pop()

    @contextmanager
    def fresh_path(self) -> Iterator[None]:
        """Lines added inside belong to a function of their own, whose paths begin anew."""
        path, self._path = self._path, []
        yield
        self._path = path

    def bind(self, hint: str, value: object) -> str:
        """A name for an object; the same one when asked again."""
        key = (hint, id(value))
        name = self._bound.get(key)
        if name is None:
            name = hint if hint not in self.namespace else self.fresh(hint + "_")
            self._bound[key] = name
            self.namespace[name] = value
        return name

    def fresh(self, prefix: str) -> str:
        """A local name not used before."""
        count = self._counters[prefix] = self._counters.get(prefix, 0) + 1
        return f"{prefix}{count}"

    def text(self) -> str:
        """The source so far."""
        return "\n".join(self.lines) + "\n"

    def compile(self) -> dict[str, Any]:
        """Runs the source and gives its namespace. A traceback through it shows its lines."""
        text = self.text()
        filename = f"<ottla {self.title} {next(_serial)}>"
        linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
        exec(compile(text, filename, "exec"), self.namespace)
        return self.namespace
