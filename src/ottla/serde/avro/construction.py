"""How an instance of a class comes about: by its constructor, or by setting attributes where that is all it does."""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
from dataclasses import dataclass
from typing import Any

from ottla.events.shapes import Record

PostInit = int
NO_POST_INIT, DATACLASS_POST_INIT, ATTRS_POST_INIT = range(3)


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute that a constructor sets.

    Attributes:
        name: The attribute.
        init_name: The constructor's name for it.
        has_default: Whether `default` is one.
        default: What it is if the constructor is not given it.
        factory: What makes the default instead.
    """

    name: str
    init_name: str
    has_default: bool = False
    default: Any = None
    factory: Any = None


def attributes_set(record: Record) -> tuple[tuple[Attribute, ...], PostInit] | None:
    """All that the constructor of a record's class sets, in its order, and which method it calls at the end.

    None if the constructor may do anything else: one written by hand, validators, converters, a metaclass's, ... Then
    only calling it will do. Dataclasses and attrs classes write constructors of this kind in Python, which is what
    takes most of the time of decoding them.
    """
    cls: Any = record.cls
    if cls.__new__ is not object.__new__ or inspect.isabstract(cls):
        return None
    if type(cls).__call__ is not type.__call__ or not inspect.isfunction(cls.__dict__.get("__init__")):
        return None
    if dataclasses.is_dataclass(cls) and "__dataclass_fields__" in cls.__dict__:
        return _dataclass(cls)
    if "__attrs_attrs__" in cls.__dict__:
        return _attrs(cls)
    return None


def _dataclass(cls: Any) -> tuple[tuple[Attribute, ...], PostInit] | None:
    params = cls.__dataclass_params__
    fields = dataclasses.fields(cls)
    if not params.init or cls.__init__.__code__.co_filename != "<string>" or not all(f.init for f in fields):
        return None
    if not params.frozen and cls.__setattr__ is not object.__setattr__:
        return None
    missing = dataclasses.MISSING
    found = tuple(
        Attribute(
            f.name,
            f.name,
            f.default is not missing,
            None if f.default is missing else f.default,
            None if f.default_factory is missing else f.default_factory,
        )
        for f in fields
    )
    return found, DATACLASS_POST_INIT if hasattr(cls, "__post_init__") else NO_POST_INIT


def _attrs(cls: Any) -> tuple[tuple[Attribute, ...], PostInit] | None:
    attr = sys.modules["attr"]
    code = cls.__init__.__code__
    if not code.co_filename.startswith("<attrs generated") or hasattr(cls, "__attrs_pre_init__"):
        return None
    if not _is_attrs_own(cls.__setattr__) or "_attrs_cached_hash" in (*code.co_names, *code.co_consts):
        return None
    found = []
    for field in cls.__attrs_attrs__:
        factory = field.default if isinstance(field.default, attr.Factory) else None
        if not field.init or field.validator or field.converter or (factory and factory.takes_self):
            return None
        has_default = factory is None and field.default is not attr.NOTHING
        found.append(
            Attribute(
                field.name,
                field.alias,
                has_default,
                field.default if has_default else None,
                factory and factory.factory,
            )
        )
    return tuple(found), ATTRS_POST_INIT if hasattr(cls, "__attrs_post_init__") else NO_POST_INIT


def _is_attrs_own(setter: Any) -> bool:
    """Whether `__setattr__` is Python's or one that attrs made, which its constructors pass by."""
    if setter is object.__setattr__:
        return True
    filename = getattr(getattr(setter, "__code__", None), "co_filename", "")
    return bool(filename.endswith(os.path.join("attr", "_make.py")))
