"""Ends a handler that takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ottla.middleware.hook import HandlerCall


class Timeout:
    """Cancels an async handler after `seconds` and raises TimeoutError, which the handler's Retry decides on.

    A plain handler runs in a thread, which cannot be stopped from outside: around one, this is a ConfigurationError,
    for to go on beside it would be to handle a record twice at once.
    """

    async_handlers_only = True

    def __init__(self, seconds: float) -> None:
        if seconds <= 0:
            raise ValueError(f"Timeout({seconds!r}): give it seconds, more than none")
        self.seconds = seconds

    async def __call__(self, call_next: Callable[[HandlerCall], Awaitable[Any]], call: HandlerCall) -> Any:
        try:
            async with asyncio.timeout(self.seconds) as limit:
                return await call_next(call)
        except TimeoutError as error:
            if not limit.expired():  # one of the handler's own
                raise
            raise TimeoutError(
                f"{call.handler} took longer than {self.seconds:g} s on {call.place} and was cancelled"
            ) from error
