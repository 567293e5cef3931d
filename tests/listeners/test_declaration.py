"""What `@app.listen` accepts and refuses of a handler's signature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from ottla import Context, event
from ottla.errors import ConfigurationError
from ottla.listeners.declaration import declare
from ottla.listeners.retry import Retry


@event("declared-events", key="id")
@dataclass
class Placed:
    id: str


@event("declared-events", key="id")
@dataclass
class Cancelled:
    id: str


def test_the_parameter_that_nothing_can_be_given_for_is_named() -> None:
    def handle(placed: Placed, db, ctx: Context) -> None: ...  # type: ignore[no-untyped-def]

    with pytest.raises(ConfigurationError, match="for parameter 'db'"):
        declare(handle, (), name=None, retry=Retry())


def test_a_parameter_without_annotation_takes_the_context() -> None:
    def handle(placed: Placed, ctx) -> Any:  # type: ignore[no-untyped-def]
        return ctx

    assert declare(handle, (), name=None, retry=Retry()).call("event", "context") == "context"


def test_a_parameter_with_a_default_before_the_context_keeps_it() -> None:
    def handle(placed: Placed, dry: bool = False, *, ctx: Context) -> Any:
        return dry, ctx

    assert declare(handle, (), name=None, retry=Retry()).call("event", "context") == (False, "context")


def test_an_annotation_that_contradicts_the_classes_listened_to_is_refused() -> None:
    def handle(cancelled: Cancelled) -> None: ...

    with pytest.raises(ConfigurationError, match=r"listens to Placed, but its parameter 'cancelled' .* with Cancelled"):
        declare(handle, (Placed,), name=None, retry=Retry())


def _union(one: Placed | Cancelled) -> None: ...
def _anything(one: Any) -> None: ...
def _object(one: object) -> None: ...


@pytest.mark.parametrize("handle", [_union, _anything, _object])
def test_an_annotation_that_covers_the_classes_is_accepted(handle: Callable[..., Any]) -> None:
    declared = declare(handle, (Placed,), name=None, retry=Retry())
    assert [kind.cls for kind in declared.events] == [Placed]


def test_a_batch_is_annotated_with_lists() -> None:
    def handle(placed: list[Placed], contexts: list[Context]) -> None: ...

    assert declare(handle, (Placed,), name=None, retry=Retry(), batch=10).batch == 10
