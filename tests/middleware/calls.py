"""Handlers to put middleware around, called as a listener would call them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ottla import Context, Retry, event
from ottla.listeners.declaration import Listener, declare
from ottla.middleware.hook import Middleware, around


@event("placed-events", key="id")
@dataclass
class Placed:
    id: str


class Message:
    """A record at orders[0]@17 with nothing in it."""

    def topic(self) -> str:
        return "orders"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 17

    def key(self) -> bytes | None:
        return None

    def value(self) -> bytes | None:
        return None

    def headers(self) -> list[tuple[str, bytes | None]]:
        return [("ce_id", b"e-1")]

    def timestamp(self) -> tuple[int, int]:
        return 1, 0


CONTEXT = Context(Message(), "shop")


def with_middleware(handler: Callable[..., Any], *middleware: Middleware, batch: int = 1) -> Listener:
    declared = declare(handler, (Placed,), name="handle", retry=Retry(), batch=batch)
    return around(declared, middleware)


def call(listener: Listener, event: Any = None, context: Any = CONTEXT) -> Any:
    """What the handler, as it is now, gives for a call."""
    answer = listener.call(event or Placed("1"), context)
    return asyncio.run(answer) if listener.is_async else answer
