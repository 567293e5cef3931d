"""How the coming up of a service ended, for its log and its health."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from ottla.errors import OttlaError


class ComingUp:
    """A task that brings a service up. What it fails with is logged, and is why the service cannot go on.

    Args:
        coroutine: What the task does.
        name: The service's.
        what: What it is called in messages: `service`, `application`.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None], name: str, what: str) -> None:
        self._what = what
        self._log = logging.getLogger(f"ottla.{name}")
        self.task = asyncio.create_task(coroutine, name=f"{name} coming up")
        self.task.add_done_callback(self._over)

    @property
    def failure(self) -> str | None:
        """Why the service cannot go on, if it could not start."""
        error = self._error()
        if error is None:
            return None
        return f"the {self._what} could not start: {error if isinstance(error, OttlaError) else repr(error)}"

    async def cancel(self) -> None:
        """Ends it, and waits until it has ended."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def _error(self) -> BaseException | None:
        return self.task.exception() if self.task.done() and not self.task.cancelled() else None

    def _over(self, _task: asyncio.Task[None]) -> None:
        if (error := self._error()) is not None:
            self._log.error("%s", self.failure, exc_info=None if isinstance(error, OttlaError) else error)
