"""`@upcast`: from an older version of an event to the next, where schema resolution cannot find the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ottla.events.declaration import declared_event

VERSION = "ottla.version"
"""The property of an Avro schema that says which version of the class it was derived from; without it, the first."""

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
_F = TypeVar("_F", bound=Callable[..., Any])

_MARK = "__ottla_upcast__"


def upcast(*, from_version: int) -> Callable[[_F], _F]:
    """Marks a function in an event's class body that turns an event of one version into the next.

        @event("order-events", key="order_id", version=2)
        class OrderCreated(msgspec.Struct):
            order_id: str
            first_name: str
            last_name: str

            @staticmethod
            @upcast(from_version=1)
            def split_name(old: dict[str, Any]) -> dict[str, Any]:
                first, _, last = old.pop("name").partition(" ")
                return {**old, "first_name": first, "last_name": last}

    It is given the event as it was written: a dict of the schema's field names, records as dicts, enums as their
    symbols, logical types as Python values. It gives back the same for the next version (values of the class's own
    types will do as well). Upcasters run one after the other from the writer's version on; a version without one is
    passed over. Fields that are missing in the end take their defaults.

    Args:
        from_version: The version it reads, counted from 1; see `version` of `@event`.
    """

    def mark(function: _F) -> _F:
        setattr(function, _MARK, from_version)
        return function

    return mark


def upcasters(cls: type, writer_version: int) -> tuple[Upcaster, ...]:
    """The functions that turn what a version of a class wrote into the class's own version, in order."""
    declared = declared_event(cls)
    if declared is None or writer_version >= declared.version:
        return ()
    marked: dict[int, Upcaster] = {}
    for member in vars(cls).values():
        function = getattr(member, "__func__", member)
        version = getattr(function, _MARK, None)
        if isinstance(version, int):
            marked[version] = function
    return tuple(marked[version] for version in range(writer_version, declared.version) if version in marked)
