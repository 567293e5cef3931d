"""Plans: how to read one schema's bytes into one kind of Python value.

Resolution makes plans, the generator prints them. A plan no longer knows reader schemas: which fields are skipped,
which branch goes where and which symbol becomes which member has been settled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ottla.events.shapes import Record
from ottla.serde.avro.nodes import Kind, Node


@dataclass(eq=False, slots=True)
class ReadPrimitive:
    """A primitive, then perhaps a conversion of it."""

    kind: Kind
    size: int | None = None
    convert: Callable[[Any], Any] | None = None
    convert_name: str = ""


@dataclass(eq=False, slots=True)
class ReadEnum:
    """An enum: `values[i]` for symbol `i`, or UNKNOWN."""

    symbols: tuple[str, ...]
    values: tuple[Any, ...]
    title: str


UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda self: "UNKNOWN"})()
"""Stands for a symbol of the writer's that the reader does not know."""


@dataclass(eq=False, slots=True)
class ReadArray:
    """An array; `build` is the class of the result. `empty_items`: its items take no byte."""

    item: Plan
    build: type
    empty_items: bool = False


@dataclass(eq=False, slots=True)
class ReadMap:
    """A map, into a dict."""

    value: Plan


@dataclass(eq=False, slots=True)
class ReadUnion:
    """A union: one plan for each branch of the writer's."""

    branches: tuple[Plan, ...]


@dataclass(eq=False, slots=True)
class Refuse:
    """A branch the reader has no place for: reading it fails, with this reason."""

    reason: str


@dataclass(eq=False, slots=True)
class Step:
    """One field of the writer's: where it goes (`into` is the constructor's name for it), or past it (`skip`)."""

    name: str
    plan: Plan | None
    into: str | None
    skip: Node | None = None


@dataclass(eq=False, slots=True)
class ReadRecord:
    """A record: steps in the writer's order, then one call of `build`.

    Attributes:
        positional: Constructor arguments given by position, in order.
        keyword: Constructor arguments given by name.
        as_mapping: `build` takes one dict instead (generic decoding, pydantic's validator).
        recursive: The plan contains itself.
        shape: The shape of the class; None for a dict.
    """

    title: str
    build: Callable[..., Any] | None
    steps: tuple[Step, ...] = field(default=())
    positional: tuple[str, ...] = ()
    keyword: tuple[str, ...] = ()
    as_mapping: bool = False
    recursive: bool = False
    shape: Record | None = None


Plan = ReadPrimitive | ReadEnum | ReadArray | ReadMap | ReadUnion | Refuse | ReadRecord
