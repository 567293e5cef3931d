"""The steps a record's way through a handler is made of, and the two drivers that walk them.

The way itself (decode, call, retry, publish, dead-letter) is written once, as a generator that asks for steps; a thread
walks it for sync handlers, the event loop for async ones. So both kinds of handler have the same policies.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from contextvars import copy_context
from typing import Any

from ottla.errors import HandlerError
from ottla.listeners.hooks import Conditions

OUTAGE_WAIT_S = 1.0
"""Between two looks for something that is away."""


class Call:
    """Call something and give back its result, or throw what it raised into the way."""

    __slots__ = ("arguments", "function", "is_async")

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], *, is_async: bool = False) -> None:
        self.function = function
        self.arguments = arguments
        self.is_async = is_async


class Sleep:
    """Wait, unless the partition is given up first."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


Way = Generator[Call | Sleep, Any, None]


def wait_out(conditions: Conditions, name: str, error: Exception) -> Way:
    """Says what is away, and waits a little for it."""
    conditions.raise_condition(name, str(error))
    yield Sleep(OUTAGE_WAIT_S)


def walk(way: Way, stopping: threading.Event) -> bool:
    """Walks a way on this thread. False if it was given up because `stopping` was set during a wait."""
    try:
        step = next(way)
        while True:
            if isinstance(step, Sleep):
                if stopping.wait(step.seconds):
                    way.close()
                    return False
                step = way.send(None)
                continue
            try:
                result = collect(step.function(*step.arguments))
            except Exception as error:
                step = way.throw(error)
            except BaseException as error:
                step = way.throw(failure_of(error))
            else:
                step = way.send(result)
    except StopIteration:
        return True


async def walk_async(way: Way, stopping: asyncio.Event, threads: Executor) -> bool:
    """Walks a way on the event loop; what would block it goes to a thread, and not to one of the loop's own, which
    others wait for. False if it was given up."""
    try:
        step = next(way)
        while True:
            if isinstance(step, Sleep):
                if stopping.is_set():
                    way.close()
                    return False
                if step.seconds <= 0:
                    step = way.send(None)
                    continue
                try:
                    await asyncio.wait_for(stopping.wait(), step.seconds)
                except TimeoutError:
                    step = way.send(None)
                    continue
                way.close()
                return False
            try:
                if step.is_async:
                    result = await collect_async(step.function(*step.arguments))
                else:
                    try:
                        future = threads.submit(copy_context().run, _called, step)
                    except RuntimeError:  # The service has been stopped: no thread takes anything more.
                        way.close()
                        return False
                    result = await asyncio.wrap_future(future)
            except Exception as error:
                step = way.throw(error)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Nobody cancels this task: the handler waited for something that somebody else cancelled.
                step = way.throw(failure_of(error))
            else:
                step = way.send(result)
    except StopIteration:
        return True


def _called(step: Call) -> Any:
    try:
        return collect(step.function(*step.arguments))
    except StopIteration as error:  # A future does not take it: whoever awaits it would wait for ever.
        raise failure_of(error) from error
    except Exception:
        raise
    except BaseException as error:
        raise failure_of(error) from error


def failure_of(error: BaseException) -> HandlerError:
    """An exception that would end the thread or the task, as one that a handler's policies are for."""
    failure = HandlerError(f"{type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


def collect(result: Any) -> Any:
    """A generator handler's events, as a list; anything else as it is."""
    return list(result) if inspect.isgenerator(result) else result


async def collect_async(result: Any) -> Any:
    if inspect.isasyncgen(result):
        return [event async for event in result]
    return await result
