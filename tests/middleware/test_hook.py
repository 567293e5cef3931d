"""How middleware gets around a handler."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest

from ottla import ConfigurationError, Context, Retry
from ottla.listeners.declaration import declare
from ottla.middleware.hook import HandlerCall, around
from tests.middleware.calls import CONTEXT, Placed, call, with_middleware


def test_a_handler_without_middleware_is_the_very_same() -> None:
    def handle(placed: Placed) -> None: ...

    declared = declare(handle, (), name=None, retry=Retry())
    assert around(declared, ()) is declared


def noting(notes: list[str], name: str) -> Callable[[HandlerCall], Generator[HandlerCall, Any, Any]]:
    def note(call: HandlerCall) -> Generator[HandlerCall, Any, Any]:
        notes.append(f"{name} before")
        result = yield call
        notes.append(f"{name} after")
        return [*result, name]

    return note


def plain(placed: Placed) -> Any:
    return ["handled"]


async def awaited(placed: Placed) -> Any:
    await asyncio.sleep(0)
    return ["handled"]


@pytest.mark.parametrize("handler", [plain, awaited])
def test_generators_go_around_both_kinds_of_handler_the_first_is_outermost(handler: Callable[..., Any]) -> None:
    notes: list[str] = []
    listener = with_middleware(handler, noting(notes, "outer"), noting(notes, "inner"))
    assert listener.is_async == (handler is awaited)
    assert call(listener) == ["handled", "inner", "outer"]
    assert notes == ["outer before", "inner before", "inner after", "outer after"]


def test_a_plain_middleware_goes_around_a_plain_handler() -> None:
    def doubled(call_next: Callable[[HandlerCall], Any], call: HandlerCall) -> Any:
        return call_next(call) * 2

    assert call(with_middleware(plain, doubled)) == ["handled", "handled"]


async def doubled_async(call_next: Callable[[HandlerCall], Awaitable[Any]], call: HandlerCall) -> Any:
    return (await call_next(call)) * 2


def test_an_async_middleware_goes_around_an_async_handler() -> None:
    assert call(with_middleware(awaited, doubled_async)) == ["handled", "handled"]


def test_an_async_middleware_takes_a_plain_handler_to_a_thread() -> None:
    threads: list[str] = []

    def handle(placed: Placed) -> Any:
        threads.append(threading.current_thread().name)
        return ["handled"]

    assert call(with_middleware(handle, doubled_async)) == ["handled", "handled"]
    assert threads != ["MainThread"]


@pytest.mark.parametrize("handler", [plain, awaited])
def test_the_handler_is_told_what_the_middleware_made_of_the_event(handler: Callable[..., Any]) -> None:
    seen: list[Any] = []

    def replaced(call: HandlerCall) -> Generator[HandlerCall, Any, Any]:
        seen.append((call.handler, call.event, call.place, call.contexts))
        return (yield HandlerCall(call.handler, Placed("2"), call.context))

    def handle(placed: Placed, ctx: Context) -> Any:
        seen.append(placed)

    call(with_middleware(handle, replaced), Placed("1"))
    assert seen == [("handle", Placed("1"), "orders[0]@17", [CONTEXT]), Placed("2")]


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_events_that_a_handler_yields_are_a_list_by_then(kind: str) -> None:
    def yields(placed: Placed) -> Iterator[str]:
        yield "one"
        yield "two"

    async def yields_async(placed: Placed) -> AsyncIterator[str]:
        yield "one"
        yield "two"

    notes: list[str] = []
    listener = with_middleware(yields if kind == "generator" else yields_async, noting(notes, "m"))
    assert call(listener) == ["one", "two", "m"]


@pytest.mark.parametrize("is_async", [False, True])
def test_an_exception_comes_through_the_middleware_and_may_be_turned_into_an_answer(is_async: bool) -> None:
    def fails(placed: Placed) -> Any:
        raise KeyError("gone")

    async def fails_async(placed: Placed) -> Any:
        raise KeyError("gone")

    def mended(call: HandlerCall) -> Generator[HandlerCall, Any, Any]:
        try:
            return (yield call)
        except KeyError as error:
            return f"no {error}"

    handler = fails_async if is_async else fails
    assert call(with_middleware(handler, mended)) == "no 'gone'"
    with pytest.raises(KeyError):
        call(with_middleware(handler, noting([], "m")))


def test_a_batch_handler_is_called_with_lists() -> None:
    seen: list[Any] = []

    def look(call: HandlerCall) -> Generator[HandlerCall, Any, Any]:
        seen.append((call.event, call.contexts))
        return (yield call)

    def handle(placed: list[Placed], contexts: list[Context]) -> None: ...

    call(with_middleware(handle, look, batch=5), [Placed("1"), Placed("2")], [CONTEXT, CONTEXT])
    assert seen == [([Placed("1"), Placed("2")], [CONTEXT, CONTEXT])]


def test_a_plain_middleware_around_an_async_handler_is_refused() -> None:
    def useless(call_next: Any, call: HandlerCall) -> Any:
        return call_next(call)

    with pytest.raises(ConfigurationError, match=r"handle is async and middleware .*useless is plain"):
        with_middleware(awaited, useless)


def test_a_middleware_with_the_wrong_parameters_is_refused() -> None:
    def lonely(call: HandlerCall) -> Any:
        return call

    with pytest.raises(ConfigurationError, match=r"lonely must take \(call_next, call\)"):
        with_middleware(plain, lonely)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'logging' is no middleware"):
        with_middleware(plain, "logging")  # type: ignore[arg-type]
