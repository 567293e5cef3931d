"""Puts middleware around a handler, once, when it is declared: a handler without any is called as before.

A middleware is one of these, and each is told what is being called by a `HandlerCall`:

    async def slow_ones(call_next, call):    # around any handler; a plain one then runs in a thread of asyncio's
        ...
        return await call_next(call)

    def slow_ones(call_next, call):          # around plain handlers
        ...
        return call_next(call)

    def slow_ones(call):                     # a generator: around both kinds, at the price of neither
        ...
        result = yield call                  # calls what is inside, once for each yield
        return result

What a handler returned (events it yielded are a list by then) goes back through it; an exception, too. Raising `NotNow`
lets the record wait without counting an attempt. The first in the list is the outermost. It is called from several
threads.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any

from ottla.errors import ConfigurationError
from ottla.listeners.context import Context
from ottla.listeners.declaration import Listener
from ottla.listeners.steps import collect, collect_async

Middleware = Callable[..., Any]
"""One of the three forms above."""


class HandlerCall:
    """One call of a handler.

    Attributes:
        handler: The handler's name.
        event: The event; for a batch handler, the list of them.
        context: Its Context; for a batch handler, the list of them.
    """

    __slots__ = ("context", "event", "handler")

    def __init__(self, handler: str, event: Any, context: Any) -> None:
        self.handler = handler
        self.event = event
        self.context = context

    @property
    def contexts(self) -> list[Context]:
        """The contexts of all records of the call, a single one too."""
        return self.context if isinstance(self.context, list) else [self.context]

    @property
    def place(self) -> str:
        """Where its (first) record lies: `orders[2]@17`."""
        first = self.contexts[0]
        return f"{first.topic}[{first.partition}]@{first.offset}"


Sync = Callable[[HandlerCall], Any]
Async = Callable[[HandlerCall], Awaitable[Any]]
Steps = Generator[HandlerCall, Any, Any]


def around(listener: Listener, middleware: Sequence[Middleware]) -> Listener:
    """The listener with middleware around its handler; the very same one where there is none.

    Raises:
        ConfigurationError: One of them cannot be put around this handler.
    """
    if not middleware:
        return listener
    for one in middleware:
        _check(one, listener)
    name, handler = listener.name, listener.call
    if listener.is_async or any(_is_async(one) for one in middleware):
        chain = _async_chain(listener, middleware)
        return dataclasses.replace(
            listener, call=lambda event, context: chain(HandlerCall(name, event, context)), is_async=True, of_event=None
        )

    def innermost(call: HandlerCall) -> Any:
        return collect(handler(call.event, call.context))

    plain: Sync = innermost
    for one in reversed(middleware):
        plain = _sync_layer(one, plain)
    return dataclasses.replace(
        listener, call=lambda event, context: plain(HandlerCall(name, event, context)), of_event=None
    )


def _async_chain(listener: Listener, middleware: Sequence[Middleware]) -> Async:
    handler = listener.call

    async def awaited(call: HandlerCall) -> Any:
        return await collect_async(handler(call.event, call.context))

    async def in_thread(call: HandlerCall) -> Any:
        return await asyncio.to_thread(lambda: collect(handler(call.event, call.context)))

    chain: Async = awaited if listener.is_async else in_thread
    for one in reversed(middleware):
        chain = _async_layer(one, chain)
    return chain


def _sync_layer(middleware: Middleware, inner: Sync) -> Sync:
    if not _is_generator(middleware):
        return lambda call: middleware(inner, call)

    def layer(call: HandlerCall) -> Any:
        steps: Steps = middleware(call)
        try:
            wanted = next(steps)
            while True:
                try:
                    result = inner(wanted)
                except BaseException as error:
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(result)
        except StopIteration as end:
            return end.value
        finally:
            steps.close()

    return layer


def _async_layer(middleware: Middleware, inner: Async) -> Async:
    if not _is_generator(middleware):

        async def awaited(call: HandlerCall) -> Any:
            return await middleware(inner, call)

        return awaited

    async def layer(call: HandlerCall) -> Any:
        steps: Steps = middleware(call)
        try:
            wanted = next(steps)
            while True:
                try:
                    result = await inner(wanted)
                except BaseException as error:
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(result)
        except StopIteration as end:
            return end.value
        finally:
            steps.close()

    return layer


def _check(middleware: Middleware, listener: Listener) -> None:
    label = getattr(middleware, "__qualname__", type(middleware).__qualname__)
    if not callable(middleware):
        raise ConfigurationError(f"handler {listener.name}: {middleware!r} is no middleware: it cannot be called")
    wanted = 1 if _is_generator(middleware) else 2
    try:
        inspect.signature(middleware).bind(*range(wanted))
    except TypeError:
        form = "(call), as it yields" if wanted == 1 else "(call_next, call)"
        raise ConfigurationError(f"handler {listener.name}: middleware {label} must take {form}") from None
    if listener.is_async and not _is_async(middleware) and not _is_generator(middleware):
        raise ConfigurationError(
            f"handler {listener.name} is async and middleware {label} is plain: it would only see a coroutine being "
            f"made. Write it `async def`, or as a generator that yields the call"
        )
    if not listener.is_async and getattr(middleware, "async_handlers_only", False):
        raise ConfigurationError(
            f"handler {listener.name} runs in a thread, which nobody can stop from outside, and middleware {label} "
            f"has to: make the handler async, or leave the middleware out"
        )


def _is_async(middleware: Middleware) -> bool:
    return inspect.iscoroutinefunction(_function(middleware))


def _is_generator(middleware: Middleware) -> bool:
    return inspect.isgeneratorfunction(_function(middleware))


def _function(middleware: Middleware) -> Any:
    return middleware if inspect.isroutine(middleware) else getattr(middleware, "__call__", middleware)  # noqa: B004
