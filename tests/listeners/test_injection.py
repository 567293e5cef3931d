"""What handlers are called with, beyond the event."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from ottla import Context, Depends, Header, Key, RecordMetadata, Retry, event
from ottla.errors import ConfigurationError
from ottla.kafka.record import Headers
from ottla.listeners.declaration import Listener, declare

KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@event("injected-events", key="id")
@dataclass
class Placed:
    id: str


class _Record:
    def topic(self) -> str:
        return "injected-events"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 42

    def key(self) -> bytes | None:
        return b"o-1"

    def value(self) -> bytes | None:
        return b""

    def headers(self) -> Headers | None:
        return [("x-tenant", b"first"), ("x-tenant", b"last")]

    def timestamp(self) -> tuple[int, int]:
        return 1, 1000


def declared(function: Any, **more: Any) -> Listener:
    return declare(function, (Placed,), name=None, retry=Retry(), **more)


def called(function: Any, *, overrides: Any = None, batch: int = 1) -> Any:
    listener = declared(function, overrides=overrides, batch=batch)
    context: Any = Context(_Record(), "service")
    arguments = (Placed("o-1"), context) if batch == 1 else ([Placed("o-1")], [context])
    result = listener.call(*arguments)
    if not listener.is_async:
        return result
    assert inspect.isawaitable(result)

    async def wait() -> Any:
        return await result

    return asyncio.run(wait())


log: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    log.clear()


def engine() -> Iterator[str]:
    log.append("engine opens")
    try:
        yield "engine"
    finally:
        log.append("engine closes")


async def async_engine() -> AsyncIterator[str]:
    log.append("engine opens")
    try:
        yield "engine"
    finally:
        log.append("engine closes")


def session(opened: Annotated[str, Depends(engine)], placed: Placed) -> Iterator[str]:
    log.append("session opens")
    try:
        yield f"session of {placed.id} on {opened}"
    except ValueError:
        log.append("session rolls back")
        raise
    finally:
        log.append("session closes")


async def async_session(opened: Annotated[str, Depends(async_engine)], ctx: Context) -> str:
    await asyncio.sleep(0)
    return f"session of {ctx.offset} on {opened}"


def test_parts_of_the_record_are_given_by_type() -> None:
    def handle(
        placed: Placed,
        key: Annotated[bytes, Key()],
        name: Annotated[str, Key()],
        tenant: Annotated[str, Header("x-tenant")],
        raw: Annotated[bytes | None, Header("x-tenant")],
        missing: Annotated[str | None, Header("x-none")],
        headers: Headers,
        where: RecordMetadata,
        ctx: Context,
        limit: int = 7,
    ) -> Any:
        return key, name, tenant, raw, missing, len(headers), where, ctx.offset, limit

    assert called(handle) == (
        b"o-1",
        "o-1",
        "last",
        b"last",
        None,
        2,
        RecordMetadata("injected-events", 3, 42, 1000),
        42,
        7,
    )


@KINDS
def test_a_dependency_is_opened_once_for_a_record_and_closed_after_the_handler(kind: str) -> None:
    def plain(
        placed: Placed, db: Annotated[str, Depends(session)], again: Annotated[str, Depends(session)]
    ) -> Iterator[str]:
        log.append("handles")
        yield db
        yield again

    async def on_loop(
        placed: Placed, db: Annotated[str, Depends(session)], again: Annotated[str, Depends(session)]
    ) -> AsyncIterator[str]:
        log.append("handles")
        yield db
        yield again

    assert called(plain if kind == "sync" else on_loop) == ["session of o-1 on engine"] * 2
    assert log == ["engine opens", "session opens", "handles", "session closes", "engine closes"]


@KINDS
def test_what_the_handler_raises_reaches_its_dependencies_and_the_caller(kind: str) -> None:
    def plain(placed: Placed, db: Annotated[str, Depends(session)]) -> None:
        raise ValueError("no")

    async def on_loop(placed: Placed, db: Annotated[str, Depends(session)]) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        called(plain if kind == "sync" else on_loop)
    assert log == ["engine opens", "session opens", "session rolls back", "session closes", "engine closes"]


def test_a_plain_handler_with_an_async_dependency_runs_in_a_thread_and_the_dependency_on_the_loop() -> None:
    threads: list[str] = []

    async def where() -> str:
        threads.append(threading.current_thread().name)
        return "here"

    def handle(placed: Placed, db: Annotated[str, Depends(async_session)], here: Annotated[str, Depends(where)]) -> str:
        threads.append(threading.current_thread().name)
        return f"{db}, {here}"

    assert called(handle) == "session of 42 on engine, here"
    assert threads[0] == "MainThread" != threads[1]
    assert log == ["engine opens", "engine closes"]


def test_without_the_cache_a_dependency_is_called_for_each_who_wants_it() -> None:
    def number() -> int:
        log.append("counted")
        return len(log)

    def handle(
        placed: Placed,
        first: Annotated[int, Depends(number, use_cache=False)],
        second: Annotated[int, Depends(number, use_cache=False)],
    ) -> Any:
        return first, second

    assert called(handle) == (1, 2)


def test_a_class_and_an_object_that_can_be_called_are_dependencies_too() -> None:
    class Page:
        def __init__(self, tenant: Annotated[str, Header("x-tenant")], size: int = 10) -> None:
            self.what = f"{tenant}/{size}"

    class Counting:
        def __call__(self, ctx: Context) -> int:
            return ctx.partition

    counting = Counting()

    def handle(placed: Placed, page: Annotated[Page, Depends(Page)], number: int = Depends(counting)) -> Any:  # type: ignore[assignment]
        return page.what, number

    assert called(handle) == ("last/10", 3)


@KINDS
def test_a_dependency_is_overridden_in_tests(kind: str) -> None:
    def fake(ctx: Context) -> str:
        return f"fake of {ctx.key!r}"

    async def async_fake() -> str:
        return "async fake"

    def plain(placed: Placed, db: Annotated[str, Depends(session)]) -> str:
        return db

    async def on_loop(placed: Placed, db: Annotated[str, Depends(async_session)]) -> str:
        return db

    if kind == "sync":
        assert called(plain, overrides={session: fake}) == "fake of b'o-1'"
        with pytest.raises(ConfigurationError, match="override a plain dependency with a plain one"):
            called(plain, overrides={session: async_fake})
    else:
        assert called(on_loop, overrides={async_session: async_fake}) == "async fake"
        assert called(on_loop, overrides={async_session: fake}) == "fake of b'o-1'"
    assert log == []


def test_a_batch_handler_has_its_dependencies_once_for_the_batch() -> None:
    def summary(placed: list[Placed], contexts: list[Context]) -> str:
        log.append("summed up")
        return f"{len(placed)} and {len(contexts)}"

    def handle(placed: list[Placed], total: Annotated[str, Depends(summary)], contexts: list[Context]) -> Any:
        return total, contexts[0].offset

    assert called(handle, batch=10) == ("1 and 1", 42)
    assert log == ["summed up"]


def test_what_cannot_be_given_is_named_when_the_handler_is_declared() -> None:
    def needy(unknown: int) -> int:
        return unknown

    def handle(placed: Placed, value: Annotated[int, Depends(needy)]) -> None: ...

    with pytest.raises(ConfigurationError, match=r"parameter 'unknown' of .*needy"):
        declared(handle)

    def in_a_circle(other: Any = None) -> None: ...

    in_a_circle.__annotations__["other"] = Annotated[Any, Depends(in_a_circle)]

    def circular(placed: Placed, value: Annotated[Any, Depends(in_a_circle)]) -> None: ...

    with pytest.raises(ConfigurationError, match="in_a_circle depends on itself"):
        declared(circular)


def test_a_handler_without_any_of_it_is_called_as_it_is() -> None:
    def handle(placed: Placed, ctx: Context) -> None: ...

    assert declared(handle).call is handle
