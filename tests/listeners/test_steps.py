from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ottla.listeners.steps import Call, Sleep, Way, walk, walk_async

THREADS = ThreadPoolExecutor(2)


def _walk_either(kind: str, way: Way, *, stopped: bool = False) -> bool:
    if kind == "thread":
        stopping = threading.Event()
        if stopped:
            stopping.set()
        return walk(way, stopping)

    async def go() -> bool:
        stopping = asyncio.Event()
        if stopped:
            stopping.set()
        return await walk_async(way, stopping, THREADS)

    return asyncio.run(go())


either = pytest.mark.parametrize("kind", ["thread", "loop"])


@either
def test_a_call_gives_its_result_back_to_the_way(kind: str) -> None:
    seen = []

    def way() -> Way:
        seen.append((yield Call(pow, (2, 5))))

    assert _walk_either(kind, way())
    assert seen == [32]


@either
def test_what_a_call_raises_is_thrown_into_the_way(kind: str) -> None:
    seen = []

    def way() -> Way:
        try:
            yield Call(int, ("x",))
        except ValueError as error:
            seen.append(str(error))
        seen.append((yield Call(int, ("7",))))

    assert _walk_either(kind, way())
    assert seen[1] == 7
    assert "invalid literal" in seen[0]


@either
def test_a_wait_goes_on_afterwards(kind: str) -> None:
    seen = []

    def way() -> Way:
        yield Sleep(0.001)
        seen.append("after")

    assert _walk_either(kind, way())
    assert seen == ["after"]


@either
def test_a_wait_is_given_up_when_the_partition_stops(kind: str) -> None:
    seen = []

    def way() -> Way:
        try:
            yield Sleep(60)
            seen.append("after")
        finally:
            seen.append("closed")

    assert not _walk_either(kind, way(), stopped=True)
    assert seen == ["closed"]


@either
def test_a_generator_handler_is_collected(kind: str) -> None:
    seen = []

    def handler() -> Iterator[int]:
        yield 1
        yield 2

    def way() -> Way:
        seen.append((yield Call(handler, ())))

    assert _walk_either(kind, way())
    assert seen == [[1, 2]]


@either
def test_an_exception_the_way_does_not_catch_reaches_the_driver(kind: str) -> None:
    def way() -> Way:
        yield Call(int, ("x",))

    with pytest.raises(ValueError, match="invalid literal"):
        _walk_either(kind, way())


def test_async_calls_and_generators_are_awaited_on_the_loop() -> None:
    seen = []

    async def one() -> int:
        await asyncio.sleep(0)
        return 1

    async def many() -> AsyncIterator[int]:
        yield 2
        yield 3

    def way() -> Way:
        seen.append((yield Call(one, (), is_async=True)))
        seen.append((yield Call(many, (), is_async=True)))

    assert _walk_either("loop", way())
    assert seen == [1, [2, 3]]


def test_a_way_is_given_up_where_the_threads_are_gone() -> None:
    closed, threads, ended = asyncio.Event(), ThreadPoolExecutor(1), list[str]()
    threads.shutdown()

    def way() -> Way:
        try:
            yield Call(int, ("1",))
        except Exception:
            ended.append("counted as a failure")
        finally:
            ended.append("closed")

    assert asyncio.run(walk_async(way(), closed, threads)) is False
    assert ended == ["closed"]
