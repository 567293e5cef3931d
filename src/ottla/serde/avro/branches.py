"""Which branch of a union a Python value belongs to."""

from __future__ import annotations

import collections.abc
import uuid
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from ottla.events.shapes import Array, DecimalNumber, Enumeration, Logical, Map, Record, Scalar, Shape, Union

_SCALAR_CLASSES: dict[str, type] = {
    "null": type(None),
    "boolean": bool,
    "long": int,
    "double": float,
    "string": str,
    "bytes": bytes,
}
_LOGICAL_CLASSES: dict[str, type] = {
    "datetime": datetime,
    "date": date,
    "time": time,
    "timedelta": timedelta,
    "uuid": uuid.UUID,
}


def exact_branches(union: Union) -> dict[type, int]:
    """The branch of every class for which the class alone decides. The fast way; `branch_picker` knows the rest."""
    by_value = any(_by_value(branch) for branch in union.branches)
    exact: dict[type, int] = {}
    for i, branch in enumerate(union.branches):
        for cls in _classes(branch):
            if not (by_value and cls in (str, int)):
                exact[cls] = i
    if float in exact:
        exact.setdefault(int, exact[float])
    return exact


def optional_branch(union: Union) -> tuple[int, Shape] | None:
    """For `X | None`: the index of None's branch, and the other branch. None for any other union."""
    if len(union.branches) != 2:
        return None
    for i, branch in enumerate(union.branches):
        if isinstance(branch, Scalar) and branch.kind == "null":
            return i, union.branches[1 - i]
    return None


def branch_picker(union: Union) -> Callable[[Any], int]:
    """A function that gives the branch of any value, and raises TypeError for one that belongs to none."""
    tests = [(_test(branch), i) for i, branch in enumerate(union.branches)]
    # What decides by value comes first (a Literal before str), then subclasses before their bases (bool before int,
    # datetime before date), whatever order the union was written in.
    tests.sort(key=lambda test: _rank(union.branches[test[1]]))
    names = ", ".join(_name(branch) for branch in union.branches)

    def pick(value: Any) -> int:
        for test, i in tests:
            if test(value):
                return i
        raise TypeError(f"{type(value).__name__} is none of {names}")

    return pick


def _by_value(shape: Shape) -> bool:
    return (isinstance(shape, Enumeration) and shape.cls is None) or (
        isinstance(shape, Scalar) and shape.allowed is not None
    )


def _classes(shape: Shape) -> tuple[type, ...]:
    match shape:
        case Scalar(kind=kind):
            return () if shape.allowed is not None else (_SCALAR_CLASSES[kind],)
        case Logical(kind=kind):
            return (_LOGICAL_CLASSES[kind],)
        case DecimalNumber():
            return (Decimal,)
        case Enumeration(cls=cls) | Record(cls=cls):
            return () if cls is None else (cls,)
        case Array():
            return (list, tuple, set, frozenset)
        case Map():
            return (dict,)
        case Union():
            return ()


def _test(shape: Shape) -> Callable[[Any], bool]:
    match shape:
        case Scalar(allowed=tuple(allowed)):
            return lambda value: value.__class__ in (str, int) and value in allowed
        case Enumeration(cls=None, values=values):
            return lambda value: isinstance(value, str) and value in values
        case Scalar(kind="double"):
            return lambda value: isinstance(value, float | int)
        case Scalar(kind="bytes"):
            return lambda value: isinstance(value, bytes | bytearray | memoryview)
        case Array():
            return _is_items
        case Map():
            return lambda value: isinstance(value, collections.abc.Mapping)
        case _:
            classes = _classes(shape)
            return lambda value: isinstance(value, classes)


def _is_items(value: Any) -> bool:
    return isinstance(value, collections.abc.Collection) and not isinstance(
        value, str | bytes | bytearray | memoryview | collections.abc.Mapping
    )


def _rank(shape: Shape) -> int:
    if _by_value(shape) or (isinstance(shape, Enumeration)):
        return 0
    if isinstance(shape, Record):
        # A subclass of another branch's class goes before it.
        return 100 - len(shape.cls.__mro__)
    if isinstance(shape, Scalar):
        return {"null": 0, "boolean": 0, "long": 201, "double": 202}.get(shape.kind, 203)
    if isinstance(shape, Logical):
        return 200 if shape.kind == "date" else 199
    return 204


def _name(shape: Shape) -> str:
    match shape:
        case Array():
            return "list"
        case Map():
            return "dict"
        case Enumeration(cls=None):
            return "Literal" + repr(list(shape.symbols))
        case Scalar(allowed=tuple(values)):
            return "Literal" + repr(list(values))
        case _:
            return " or ".join("None" if c is type(None) else c.__name__ for c in _classes(shape))
